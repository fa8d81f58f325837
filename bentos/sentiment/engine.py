"""Tokenizes texts and runs the model on them, on the CPU or a GPU."""

import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bentos.sentiment import cuda
from bentos.sentiment.cpu import OpenVinoModel
from bentos.sentiment.known_words import KnownWords
from bentos.sentiment.windows import SPECIAL, windows

logger = logging.getLogger("bentoml.sentiment")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most likely label and its probability.

    `truncated` is whether the middle of the text was left out, and `known_share` the share of its words that
    occur in the training reviews, if the model's files say which.
    """

    label: str
    score: float
    truncated: bool
    known_share: float | None


class Model(Protocol):
    """A loaded model."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""

    def logits(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        """Return logits [windows, labels]. Windows are lists of token ids, longest first."""

    def warm_up(self) -> None:
        """Run the initialization that the first inferences would otherwise trigger."""


class Engine:
    """A tokenizer and a loaded model. Not thread-safe.

    `folder` contains model.xml, model.bin, tokenizer.json and serving.json, as exported by the pipeline, and
    known_words.npy, which earlier releases did not write. The trained form in model/, if it is also there, is
    used when a GPU is present.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        serving = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
        self.labels: list[str] = serving["labels"]
        self.max_tokens: int = serving["max_tokens"]
        self.windows: int = serving["windows"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._known_words = KnownWords.load(folder, self._tokenizer)
        self._model = load(folder, self.max_tokens, threads)

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Return one prediction per text, in order."""
        tokens = self._tokenize(texts)
        probabilities = self._predict(tokens)
        limit = self.windows * (self.max_tokens - SPECIAL)
        known = self._known_words.shares(tokens) if self._known_words else [None] * len(tokens)
        best = probabilities.argmax(axis=1)
        return [
            Prediction(self.labels[label], float(row[label]), len(ids) - SPECIAL > limit, share)
            for row, label, ids, share in zip(probabilities, best, tokens, known, strict=True)
        ]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return class probabilities [texts, labels], in order."""
        return self._predict(self._tokenize(texts))

    def warm_up(self) -> None:
        """Run the initialization that the first texts would otherwise trigger."""
        self._model.warm_up()

    @property
    def device(self) -> str:
        """The device that runs the model: `cpu` or `cuda`."""
        return self._model.device

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def _predict(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """Average the probabilities over the windows of each text."""
        windows_per_text = [windows(ids, self.max_tokens, self.windows) for ids in tokens]
        probabilities = self._infer(list(itertools.chain.from_iterable(windows_per_text)))
        if len(probabilities) == len(tokens):
            return probabilities
        ends = np.cumsum([len(of_text) for of_text in windows_per_text])
        return np.stack([of_text.mean(axis=0) for of_text in np.split(probabilities, ends[:-1])])

    def _infer(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        if not windows:
            return np.empty((0, len(self.labels)), np.float32)
        # Longest first, so that the streams finish at about the same time.
        order = sorted(range(len(windows)), key=lambda row: -len(windows[row]))
        probabilities = np.empty((len(windows), len(self.labels)), np.float32)
        probabilities[order] = softmax(self._model.logits([windows[row] for row in order]))
        return probabilities


def load(folder: Path, max_tokens: int, threads: int) -> Model:
    """Load the model on a GPU if possible, otherwise on the CPU.

    A GPU counts only once it has answered: PyTorch may be built for CPUs, or for another driver.
    """
    if (folder / "model").is_dir() and cuda.is_present():
        try:
            model = cuda.TorchModel(folder)
            model.warm_up()
        except Exception as error:
            logger.warning("the GPU cannot be used, the model runs on the CPU: %s", error)
        else:
            return model
    return OpenVinoModel(folder, max_tokens, threads)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities
