"""Texts to class probabilities: a tokenizer and an OpenVINO model, no training library."""

import itertools
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from tokenizers import Tokenizer

SIZES = (8, 4, 2, 1)
"""Windows in one inference. Sorted by length, eight waste little on padding; 16 or 32 are no faster."""

WIDTHS = (*range(16, 64, 16), *range(64, 256, 32), *range(256, 513, 64))
"""Tokens to which the windows of one inference are padded. OpenVINO compiles for every shape that it meets,
which takes longer than the inference, and remembers it: with every length a shape, it came to 2 GB."""

SPECIAL = 2
"""[CLS] and [SEP], which every window has."""

THREADS_A_STREAM = 2
"""One thread a stream would do 5 % more texts of a full queue, and take half as long again for a lone one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The likeliest label, its probability, and whether a part of the text was left out."""

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
        self.windows: int = serving["windows"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._widths = [*(width for width in WIDTHS if width < self.max_tokens), self.max_tokens]
        threads = threads or len(os.sched_getaffinity(0))
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": max(1, threads // THREADS_A_STREAM),  # the queue feeds them all
            "INFERENCE_PRECISION_HINT": "f32",  # else the CPU decides, and machines disagree on a score
        }
        self._queue = ov.AsyncInferQueue(ov.Core().compile_model(folder / "model.xml", "CPU", config))

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text, in the order of the texts."""
        tokens = self._tokenize(texts)
        probabilities = self._read(tokens)
        most = self.windows * (self.max_tokens - SPECIAL)
        return [
            Verdict(self.labels[best], float(row[best]), len(ids) - SPECIAL > most)
            for row, best, ids in zip(probabilities, probabilities.argmax(axis=1), tokens, strict=True)
        ]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Class probabilities, [texts, labels], in the order of the texts."""
        return self._read(self._tokenize(texts))

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def _read(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """The mean of the windows of each text."""
        read = [windows(ids, self.max_tokens, self.windows) for ids in tokens]
        probabilities = self._infer(list(itertools.chain.from_iterable(read)))
        if len(probabilities) == len(tokens):
            return probabilities
        ends = np.cumsum([len(own) for own in read])
        return np.stack([own.mean(axis=0) for own in np.split(probabilities, ends[:-1])])

    def _infer(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        order = np.argsort([len(ids) for ids in windows], kind="stable")
        logits = np.empty((len(windows), len(self.labels)), np.float32)

        def collect(request: ov.InferRequest, rows: NDArray[np.intp]) -> None:
            logits[rows] = request.get_output_tensor(0).data

        self._queue.set_callback(collect)
        for rows in sub_batches(order, len(self._queue)):
            chosen = [windows[row] for row in rows]
            longest = max(len(ids) for ids in chosen)
            width = next(width for width in self._widths if width >= longest)
            self._queue.start_async(padded(chosen, width), rows)
        self._queue.wait_all()
        return _softmax(logits)

    def warm_up(self) -> None:
        """Meet the shapes of a lone text and of many in every stream now; the others are met in passing."""
        for width in self._widths:
            for size in (SIZES[0], SIZES[-1]):
                shape = np.ones((size, width), np.int64)
                for _ in range(len(self._queue)):
                    self._queue.start_async({"input_ids": shape, "attention_mask": shape})
                self._queue.wait_all()


def windows(ids: list[int], max_tokens: int, most: int) -> list[list[int]]:
    """Cut a text's tokens into the fewest windows of like length, each with its [CLS] and [SEP].

    Of a text with more tokens than `most` windows hold, the middle is left out: reviews end with the verdict.
    """
    if len(ids) <= max_tokens:
        return [ids]
    first, *body, last = ids
    room = most * (max_tokens - SPECIAL)
    if len(body) > room:
        body = body[: room - room // 2] + body[len(body) - room // 2 :]
    count = math.ceil(len(body) / (max_tokens - SPECIAL))
    cuts = [len(body) * number // count for number in range(count + 1)]
    return [[first, *body[start:end], last] for start, end in itertools.pairwise(cuts)]


def sub_batches(order: NDArray[np.intp], streams: int) -> Iterator[NDArray[np.intp]]:
    """Cut positions sorted by length into sub-batches, longest first; few are shared among the streams."""
    share = max(1, len(order) // streams)
    while len(order):
        size = next(size for size in SIZES if size <= min(len(order), share))
        yield order[-size:]
        order = order[:-size]


def padded(windows: Sequence[list[int]], width: int) -> dict[str, NDArray[np.int64]]:
    """The model's inputs, each [windows, width]; padding is 0 in both."""
    input_ids, attention_mask = np.zeros((2, len(windows), width), np.int64)
    for row, ids in enumerate(windows):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities
