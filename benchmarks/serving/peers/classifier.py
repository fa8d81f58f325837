"""The model in transformers, with the defaults of PyTorch: fp32, and its own number of threads."""

import os
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MODEL = os.environ["BENCHMARK_MODEL"]
MAX_TOKENS = int(os.environ["BENCHMARK_MAX_TOKENS"])
HOST = "127.0.0.1"

BATCH = 16
"""Maximum batch size of the peers that batch. Larger batches gained nothing on a CPU."""

BATCH_WAIT_SECONDS = 0.01
"""Maximum time to wait for a full batch: the default of Ray Serve, and the value in LitServe's examples."""


class Classifier:
    """Classifies texts in one padded batch."""

    def __init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.model = AutoModelForSequenceClassification.from_pretrained(MODEL).eval()

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> list[dict[str, Any]]:
        """Return {label, score} for each text, in order."""
        batch = self.tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        scores, best = self.model(**batch).logits.softmax(dim=-1).max(dim=-1)
        labels = self.model.config.id2label
        return [
            {"label": labels[label], "score": score}
            for label, score in zip(best.tolist(), scores.tolist(), strict=True)
        ]
