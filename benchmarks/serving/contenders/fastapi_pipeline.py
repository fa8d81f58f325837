"""FastAPI + the transformers pipeline: one text a request, no batching, as in many a tutorial.

The route is a plain function, so FastAPI runs it in its thread pool and the event loop stays free. The texts
take turns: torch uses every core for one of them already, and forty at once get in each other's way.
"""

import os
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

from benchmarks.serving.contenders.classifier import HOST, MAX_TOKENS, MODEL


class Review(BaseModel):
    text: str


app = FastAPI()
classify = pipeline("text-classification", model=MODEL)
turn = threading.Lock()


# With a response model FastAPI would check each answer in the same thread pool, behind those who wait there.
@app.post("/classify", response_model=None)
def answer(review: Review) -> dict[str, Any]:
    with turn:
        (result,) = classify([review.text], truncation=True, max_length=MAX_TOKENS)
    return dict(result)


if __name__ == "__main__":
    uvicorn.run(app, host=HOST, port=int(os.environ["BENCHMARK_PORT"]))
