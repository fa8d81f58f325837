"""BentoML's batchable API with its own dispatcher and the model in transformers."""

from typing import Any

import bentoml

from benchmarks.serving.peers.classifier import BATCH, Classifier


@bentoml.service(workers=1)
class Sentiment:
    def __init__(self) -> None:
        self.model = Classifier()

    # The default deadline of 60 s: with a shorter one, clients would get 503 where other peers let them wait.
    @bentoml.api(batchable=True, max_batch_size=BATCH)  # type: ignore[untyped-decorator]
    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.model(texts)
