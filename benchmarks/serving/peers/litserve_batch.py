"""LitServe with batching and one worker."""

import os
from typing import Any

import litserve

from benchmarks.serving.peers.classifier import BATCH, BATCH_WAIT_SECONDS, HOST, Classifier


class Sentiment(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.classify = Classifier()

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.classify(texts)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Sentiment(max_batch_size=BATCH, batch_timeout=BATCH_WAIT_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host=HOST, port=int(os.environ["BENCHMARK_PORT"]), generate_client_file=False)
