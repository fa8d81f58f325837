"""FastAPI with the pipeline of transformers: one text per request and no batching, as in many tutorials.

The route is a plain function, so FastAPI runs it in its thread pool and the event loop stays free. A lock
lets one text at a time through, because PyTorch uses all cores for one text, and forty at once slow each
other down.
"""

import os
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

from benchmarks.serving.peers.classifier import HOST, MAX_TOKENS, MODEL


class Review(BaseModel):
    text: str


app = FastAPI()
classify = pipeline("text-classification", model=MODEL)
lock = threading.Lock()


# A response model would be validated in the same thread pool, after the requests that are queued there.
@app.post("/classify", response_model=None)
def classify_review(review: Review) -> dict[str, Any]:
    with lock:
        (result,) = classify([review.text], truncation=True, max_length=MAX_TOKENS)
    return dict(result)


if __name__ == "__main__":
    uvicorn.run(app, host=HOST, port=int(os.environ["BENCHMARK_PORT"]))
