"""Reviews that are nearly the same text: a copy in another part would be known from training."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import HashingVectorizer

SIMILARITY = 0.7
"""The least Jaccard similarity of two texts' word triples that is reported."""
MOST_TEXTS = 1_000
"""A triple in more texts than this says little ("one of the"), and the search would be quadratic."""
_CHUNK = 2_000


class Pair(NamedTuple):
    """The positions of two texts, and their similarity from 0 to 1."""

    first: int
    second: int
    similarity: float


def near_duplicates(texts: Sequence[str]) -> list[Pair]:
    """Return the pairs whose similarity is at least SIMILARITY, most similar first.

    The search is exact but for triples in more than MOST_TEXTS texts. A text of fewer than three words has no
    triples and no pairs.
    """
    words = r"\w+"
    triples = HashingVectorizer(
        ngram_range=(3, 3), token_pattern=words, n_features=2**31 - 1, binary=True, norm=None
    ).transform(texts)
    sizes = np.diff(triples.indptr)
    shared = shared_triples(triples)
    pairs = [pair for start in range(0, len(texts), _CHUNK) for pair in similar(shared, sizes, start)]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def shared_triples(triples: csr_array) -> csr_array:
    """Return the columns [texts, triples] that are in at least two and at most MOST_TEXTS texts, as ones."""
    _, codes, counts = np.unique(triples.indices, return_inverse=True, return_counts=True)
    wanted = (counts >= 2) & (counts <= MOST_TEXTS)
    kept = wanted[codes]
    rows = np.repeat(np.arange(triples.shape[0]), np.diff(triples.indptr))[kept]
    columns = (np.cumsum(wanted) - 1)[codes[kept]]
    ones = np.ones(len(rows), dtype=np.int32)
    return csr_array((ones, (rows, columns)), shape=(triples.shape[0], int(wanted.sum())))


def similar(shared: csr_array, sizes: npt.NDArray[np.int32], start: int) -> Iterator[Pair]:
    """Yield the pairs of the texts from `start`, one chunk of them, with later texts."""
    common = (shared[start : start + _CHUNK] @ shared.T).tocoo()
    first, second = common.coords[0] + start, common.coords[1]
    similarity = common.data / (sizes[first] + sizes[second] - common.data)
    for row in np.flatnonzero((first < second) & (similarity >= SIMILARITY)):
        yield Pair(int(first[row]), int(second[row]), float(similarity[row]))
