"""How much of a text the model knows: the share of its words that occur in the training reviews.

It is one minus the rate of words out of vocabulary. A word is a token with the tokens that continue it; a
punctuation mark is a word too. A word that the tokenizer cannot write ([UNK]) is unknown.

known_words.npy has the words of the training reviews as sorted 32-bit hashes, uint32 [words]: IMDB's 70,000
words take 270 kB, and one unknown word in 60,000 is taken for known. `bentos` has the same function.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

KNOWN_WORDS = "known_words.npy"
LITTLE = 0.5
"""With a smaller share the model knows little of a text. Other languages and random letters have less."""

MULTIPLIER = 0x9E3779B97F4A7C15
LONGEST = 512
"""Number of tokens after which the hash of a word repeats its factors."""

Hashes = npt.NDArray[np.uint32]


class Words:
    """Finds the words in token ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        prefix = getattr(tokenizer.model, "continuing_subword_prefix", None)
        vocabulary = tokenizer.get_vocab()
        self._continues = np.zeros(max(vocabulary.values()) + 1, bool)
        self._continues[[row for piece, row in vocabulary.items() if prefix and piece.startswith(prefix)]] = (
            True
        )
        self._factors = np.cumprod(np.full(LONGEST, MULTIPLIER, np.uint64))

    def hashes(self, texts: Sequence[Sequence[int]]) -> tuple[Hashes, npt.NDArray[np.int64]]:
        """Return the hashes of all words, [words], and the number of each text's words, [texts].

        `texts` are token ids without [CLS] and [SEP].
        """
        lengths = np.array([len(ids) for ids in texts], np.int64)
        ids = np.fromiter(itertools.chain.from_iterable(texts), np.int64, lengths.sum())
        starts = ~self._continues[ids]
        starts[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
        first = np.flatnonzero(starts)
        word = np.cumsum(starts) - 1
        factors = self._factors[(np.arange(len(ids)) - first[word]) % LONGEST]
        products = (ids + 1).astype(np.uint64) * factors
        sums = np.add.reduceat(products, first) if len(first) else products
        counts = np.bincount(np.repeat(np.arange(len(texts)), lengths)[first], minlength=len(texts))
        return (sums >> np.uint64(32)).astype(np.uint32), counts


def write_known_words(folder: Path, texts: Sequence[str]) -> None:
    """Write known_words.npy of the training reviews' texts beside the tokenizer in `folder`."""
    tokenizer, words = _load(folder)
    unknown = [[row] for row in [tokenizer.token_to_id(tokenizer.model.unk_token)] if row is not None]
    found = words.hashes(_encode(tokenizer, texts))[0]
    np.save(folder / KNOWN_WORDS, np.setdiff1d(found, words.hashes(unknown)[0]))


def known_shares(folder: Path, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the share of each text's words that are known, [texts]; 0 for a text without words."""
    tokenizer, words = _load(folder)
    hashes, counts = words.hashes(_encode(tokenizer, texts))
    known = np.isin(hashes, np.load(folder / KNOWN_WORDS))
    found = np.bincount(np.repeat(np.arange(len(texts)), counts), known, len(texts))
    return found / np.maximum(counts, 1)


def _load(folder: Path) -> tuple[Tokenizer, Words]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, Words(tokenizer)


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids[1:-1] for encoding in tokenizer.encode_batch_fast(list(texts))]
