"""Throughput of the served form on this machine, in one process and in batches."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.core.processor import processor
from pipelines.served_form.classifier import Classifier

TEXTS = 512


class Speed(NamedTuple):
    texts_per_second: float
    threads: int
    processor: str


def measure(classifier: Classifier, texts: Sequence[str]) -> Speed:
    """Measure on at most 512 texts, after one warm-up pass in which OpenVINO compiles each shape."""
    sample = texts[:: max(1, len(texts) // TEXTS)][:TEXTS]
    classifier.logits(sample)
    began = time.perf_counter()
    classifier.logits(sample)
    return Speed(len(sample) / (time.perf_counter() - began), classifier.threads, processor())
