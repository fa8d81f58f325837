"""95 % confidence intervals: a bootstrap over movies for metrics, Wilson's for proportions.

Reviews of one movie are alike, so they tell less than as many reviews of different movies. Both intervals
count movies: the bootstrap draws whole movies (a cluster bootstrap), and Wilson's takes the effective number
of reviews (the design effect; Kish, 1965).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 100

Counts = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A metric's value with the ends of its confidence interval."""

    value: float
    low: float
    high: float


def resamples(movies: Codes, seed: int) -> Iterator[Counts]:
    """Yield 2,000 bootstrap resamples in chunks [100, reviews] of how often each review was drawn.

    `movies` numbers each review's movie from 0; a movie is drawn with all its reviews.
    """
    rng = np.random.default_rng(seed)
    count = int(movies.max()) + 1
    chances = np.full(count, 1 / count)
    for _ in range(RESAMPLES // _CHUNK):
        yield rng.multinomial(count, chances, size=_CHUNK)[:, movies]


def bootstrap(
    metrics: Callable[[Counts], Mapping[str, Array]], movies: Codes, seed: int
) -> dict[str, tuple[float, float]]:
    """Return each metric's interval by name; `metrics` maps counts [draws, reviews] to values [draws]."""
    drawn = [metrics(counts) for counts in resamples(movies, seed)]
    return {name: ends(np.concatenate([part[name] for part in drawn])) for name in drawn[0]}


def mean_difference(differences: Array, movies: Codes, seed: int) -> Interval:
    """Return the mean of `differences`, [seeds, reviews], with the interval for other seeds and other movies.

    Each draw takes seeds and, independently of them, movies (Owen, 2007, "The pigeonhole bootstrap"). With
    few seeds the interval is too narrow: take at least five.
    """
    rng = np.random.default_rng(seed)
    seeds = len(differences)

    def draw(counts: Counts) -> dict[str, Array]:
        weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(counts)) / seeds
        return {"mean": ((weights @ differences) * counts).sum(axis=1) / counts.sum(axis=1)}

    return Interval(float(differences.mean()), *bootstrap(draw, movies, seed)["mean"])


def ends(draws: Array) -> tuple[float, float]:
    """Return the ends of the 95 % percentile interval of draws, without those that are NaN."""
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def proportion(right: npt.NDArray[np.bool_], movies: Codes, level: float = LEVEL) -> Interval:
    """Return the share of `right` with Wilson's interval, which is valid for small counts too.

    Both arguments are [reviews], of at least one review.
    """
    share, count = float(right.mean()), len(right) / design_effect(right, movies)
    z = float(norm.ppf((1 + level) / 2))
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # Without the limits, rounding puts the end of a share of 0 or 1 on its wrong side.
    return Interval(share, float(np.clip(middle - half, 0, share)), float(np.clip(middle + half, share, 1)))


def design_effect(right: npt.NDArray[np.bool_], movies: Codes) -> float:
    """Return how many times larger the variance of the share is than with independent reviews, at least 1.

    It is 1 for a single movie, whose reviews cannot be compared with those of others.
    """
    _, codes, sizes = np.unique(movies, return_inverse=True, return_counts=True)
    share, count = right.mean(), len(sizes)
    if count == 1 or share in (0, 1):
        return 1.0
    excess = np.bincount(codes, weights=right) - share * sizes
    clustered = count / (count - 1) * np.square(excess).sum() / len(right) ** 2
    return max(1.0, float(clustered / (share * (1 - share) / len(right))))
