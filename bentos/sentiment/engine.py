"""Texts to class probabilities: a tokenizer and a model, on the CPU or on a GPU."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bentos.sentiment import cuda
from bentos.sentiment.cpu import OpenVinoModel
from bentos.sentiment.windows import SPECIAL, windows


@dataclass(frozen=True, slots=True)
class Verdict:
    """The likeliest label, its probability, and whether a part of the text was left out."""

    label: str
    score: float
    truncated: bool


class Model(Protocol):
    """What runs the inferences."""

    def logits(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        """[windows, labels] of windows, lists of token ids, that come longest first."""

    def warm_up(self) -> None:
        """Do now what only the first inferences need."""


class Engine:
    """One loaded model. Call it from one thread at a time.

    `folder` holds model.xml, model.bin, tokenizer.json and serving.json, as the pipeline exports them. If it
    also holds model/, the trained form, and there is a GPU, that runs.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        serving = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
        self.labels: list[str] = serving["labels"]
        self.max_tokens: int = serving["max_tokens"]
        self.windows: int = serving["windows"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._model = load(folder, self.max_tokens, threads)

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

    def warm_up(self) -> None:
        """Do now what only the first texts need."""
        self._model.warm_up()

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
        if not windows:
            return np.empty((0, len(self.labels)), np.float32)
        # Longest first, so that no stream is left alone with the longest at the end.
        order = sorted(range(len(windows)), key=lambda row: -len(windows[row]))
        probabilities = np.empty((len(windows), len(self.labels)), np.float32)
        probabilities[order] = softmax(self._model.logits([windows[row] for row in order]))
        return probabilities


def load(folder: Path, max_tokens: int, threads: int) -> Model:
    """The model on the best device there is."""
    if (folder / "model").is_dir() and cuda.is_present():
        return cuda.TorchModel(folder)
    return OpenVinoModel(folder, max_tokens, threads)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities
