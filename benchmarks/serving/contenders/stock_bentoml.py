"""BentoML's batchable API with its own dispatcher, around transformers."""

from typing import Any

import bentoml

from benchmarks.serving.contenders.classifier import BATCH, Classifier


@bentoml.service(workers=1)
class Sentiment:
    def __init__(self) -> None:
        self.model = Classifier()

    # The default deadline of 60 s stays: a shorter one would answer 503 where the others let clients wait.
    @bentoml.api(batchable=True, max_batch_size=BATCH)  # type: ignore[untyped-decorator]
    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.model(texts)
