"""Texts to class probabilities: a tokenizer and an OpenVINO model, no training library."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

SUB_BATCH = 8
"""Texts in one inference. Sorted by length, small ones waste little on padding and fill every stream."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The likeliest label, its probability, and whether only the beginning of the text was read."""

    label: str
    score: float
    truncated: bool


class Engine:
    """One loaded model. Call it from one thread at a time.

    `folder` holds model.xml, model.bin, tokenizer.json and serving.json, as the pipeline exports them.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        serving = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
        self.labels: list[str] = serving["labels"]
        self.max_tokens: int = serving["max_tokens"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)
        config = {
            "PERFORMANCE_HINT": "THROUGHPUT",  # several streams of few threads; the queue feeds them all
            "INFERENCE_PRECISION_HINT": "f32",  # else the CPU decides, and machines disagree on a score
            "INFERENCE_NUM_THREADS": threads,
        }
        self._queue = ov.AsyncInferQueue(ov.Core().compile_model(folder / "model.xml", "CPU", config))

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text, in the order of the texts."""
        encodings = self._encode(texts)
        probabilities = self._infer(encodings)
        return [
            Verdict(self.labels[best], float(row[best]), self._is_truncated(encoding))
            for row, best, encoding in zip(
                probabilities, probabilities.argmax(axis=1), encodings, strict=True
            )
        ]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Class probabilities, [texts, labels], in the order of the texts. Past max_tokens, text is cut."""
        return self._infer(self._encode(texts))

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch_fast(list(texts))

    def _is_truncated(self, encoding: Encoding) -> bool:
        return len(encoding.ids) == self.max_tokens and len(encoding.overflowing) > 0

    def _infer(self, encodings: Sequence[Encoding]) -> NDArray[np.float32]:
        order = np.argsort([len(encoding.ids) for encoding in encodings], kind="stable")
        logits = np.empty((len(encodings), len(self.labels)), np.float32)

        def collect(request: ov.InferRequest, rows: NDArray[np.intp]) -> None:
            logits[rows] = request.get_output_tensor(0).data

        self._queue.set_callback(collect)
        # Longest first, so that no stream is left alone with the longest at the end.
        for end in range(len(order), 0, -SUB_BATCH):
            rows = order[max(0, end - SUB_BATCH) : end]
            self._queue.start_async(_padded([encodings[row] for row in rows]), rows)
        self._queue.wait_all()
        return _softmax(logits)

    def warm_up(self) -> None:
        """Let every stream allocate its memory now: its first inference takes ten times the next's."""
        for words in (self.max_tokens, 1):
            self.probabilities(["good " * words] * SUB_BATCH * len(self._queue))


def _padded(encodings: Sequence[Encoding]) -> dict[str, NDArray[np.int64]]:
    """The model's inputs, each [texts, tokens of the longest]; padding is 0 in both."""
    shape = len(encodings), max(len(encoding.ids) for encoding in encodings)
    input_ids, attention_mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, encoding in enumerate(encodings):
        input_ids[row, : len(encoding.ids)] = encoding.ids
        attention_mask[row, : len(encoding.ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities
