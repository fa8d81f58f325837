"""How much of a text the model knows: the share of its words that occur in the training reviews.

A word is a token with the tokens that continue it. `pipelines.served_form.known_words` defines the hash of a
word and writes known_words.npy.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

KNOWN_WORDS = "known_words.npy"

MULTIPLIER = 0x9E3779B97F4A7C15
LONGEST = 512
"""Number of tokens after which the hash of a word repeats its factors."""


class KnownWords:
    """The hashes of the words of the training reviews, uint32 [words], sorted."""

    def __init__(self, hashes: NDArray[np.uint32], tokenizer: Tokenizer) -> None:
        self._hashes = hashes
        prefix = getattr(tokenizer.model, "continuing_subword_prefix", None)
        vocabulary = tokenizer.get_vocab()
        self._continues = np.zeros(max(vocabulary.values()) + 1, bool)
        self._continues[[row for piece, row in vocabulary.items() if prefix and piece.startswith(prefix)]] = (
            True
        )
        self._factors = np.cumprod(np.full(LONGEST, MULTIPLIER, np.uint64))

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer) -> Self | None:
        """Read the file beside the tokenizer; None if there is none, as in versions of earlier releases."""
        file = folder / KNOWN_WORDS
        return cls(np.load(file), tokenizer) if file.exists() else None

    def shares(self, texts: Sequence[Sequence[int]]) -> list[float]:
        """Return the share of known words in each text, given its token ids; 0 for a text without words."""
        bodies = [ids[1:-1] for ids in texts]  # without [CLS] and [SEP]
        lengths = np.array([len(ids) for ids in bodies], np.int64)
        ids = np.fromiter(itertools.chain.from_iterable(bodies), np.int64, lengths.sum())
        starts = ~self._continues[ids]
        starts[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
        first = np.flatnonzero(starts)
        if not len(first):
            return [0.0] * len(texts)
        factors = self._factors[(np.arange(len(ids)) - first[np.cumsum(starts) - 1]) % LONGEST]
        sums = np.add.reduceat((ids + 1).astype(np.uint64) * factors, first)
        known = self._contains((sums >> np.uint64(32)).astype(np.uint32))
        texts_of_words = np.repeat(np.arange(len(texts)), lengths)[first]
        counts = np.bincount(texts_of_words, minlength=len(texts))
        found = np.bincount(texts_of_words, known, len(texts))
        shares: list[float] = (found / np.maximum(counts, 1)).tolist()
        return shares

    def _contains(self, hashes: NDArray[np.uint32]) -> NDArray[np.bool_]:
        places = np.searchsorted(self._hashes, hashes)
        places[places == len(self._hashes)] = 0
        found: NDArray[np.bool_] = self._hashes[places] == hashes
        return found
