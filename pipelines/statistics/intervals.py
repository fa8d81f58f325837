"""95 % confidence intervals: bootstrap for metrics, Wilson for proportions."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 100

Counts = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A metric's value with the ends of its confidence interval."""

    value: float
    low: float
    high: float


def resamples(reviews: int, seed: int) -> Iterator[Counts]:
    """Yield 2,000 bootstrap resamples in chunks [100, reviews] of how often each review was drawn."""
    rng = np.random.default_rng(seed)
    chances = np.full(reviews, 1 / reviews)
    for _ in range(RESAMPLES // _CHUNK):
        yield rng.multinomial(reviews, chances, size=_CHUNK)


def bootstrap(
    metrics: Callable[[Counts], Mapping[str, Array]], reviews: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return each metric's interval by name; `metrics` maps counts [draws, reviews] to values [draws]."""
    drawn = [metrics(counts) for counts in resamples(reviews, seed)]
    tail = (1 - LEVEL) / 2
    ends = {
        name: np.nanquantile(np.concatenate([part[name] for part in drawn]), [tail, 1 - tail])
        for name in drawn[0]
    }
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def wilson(successes: int, count: int) -> Interval:
    """Return the proportion of successes with Wilson's interval, valid for small counts; `count` is >= 1."""
    ends = binomtest(successes, count).proportion_ci(LEVEL, method="wilson")
    return Interval(successes / count, float(ends.low), float(ends.high))
