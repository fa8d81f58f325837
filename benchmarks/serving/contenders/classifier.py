"""The model as a user of transformers holds it: torch, fp32, as many threads as torch chooses."""

import os
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MODEL = os.environ["BENCHMARK_MODEL"]
MAX_TOKENS = int(os.environ["BENCHMARK_MAX_TOKENS"])
HOST = "127.0.0.1"

BATCH = 16
"""Texts in a batch of those who batch: where more gained nothing on a CPU."""

BATCH_WAIT_SECONDS = 0.01
"""How long a batch may wait for company: Ray Serve's default, and what LitServe's examples set."""


class Classifier:
    """Texts in one padded batch through the model: what one writes behind a batching decorator."""

    def __init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.model = AutoModelForSequenceClassification.from_pretrained(MODEL).eval()

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> list[dict[str, Any]]:
        """One {label, score} a text, in order."""
        batch = self.tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        scores, best = self.model(**batch).logits.softmax(dim=-1).max(dim=-1)
        labels = self.model.config.id2label
        return [
            {"label": labels[label], "score": score}
            for label, score in zip(best.tolist(), scores.tolist(), strict=True)
        ]
