"""How far a figure can be trusted: the interval in which it would lie for 95 of 100 such sets of reviews."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

RESAMPLES = 2000
LEVEL = 0.95
_AT_ONCE = 100

Counts = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A figure with the two ends of its interval."""

    value: float
    low: float
    high: float


def resamples(reviews: int, seed: int) -> Iterator[Counts]:
    """2,000 draws of as many reviews with replacement, 100 at a time.

    Each is [100, reviews]: how often each review was drawn.
    """
    rng = np.random.default_rng(seed)
    chances = np.full(reviews, 1 / reviews)
    for _ in range(RESAMPLES // _AT_ONCE):
        yield rng.multinomial(reviews, chances, size=_AT_ONCE)


def bootstrap(
    figures: Callable[[Counts], Mapping[str, Array]], reviews: int, seed: int
) -> dict[str, tuple[float, float]]:
    """The intervals of figures by name. `figures` takes counts [draws, reviews] and gives each as [draws]."""
    drawn = [figures(counts) for counts in resamples(reviews, seed)]
    tail = (1 - LEVEL) / 2
    ends = {
        name: np.nanquantile(np.concatenate([part[name] for part in drawn]), [tail, 1 - tail])
        for name in drawn[0]
    }
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def wilson(right: int, count: int) -> Interval:
    """The share `right` of `count`, at least 1, with Wilson's interval, which holds for few and for all."""
    ends = binomtest(right, count).proportion_ci(LEVEL, method="wilson")
    return Interval(right / count, float(ends.low), float(ends.high))
