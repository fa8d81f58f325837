"""The metrics of the served form on one part of the reviews, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines.core.movies import movie_codes
from pipelines.statistics.calibration import chance_calibration_error
from pipelines.statistics.intervals import Interval, bootstrap
from pipelines.statistics.scores import score, score_draws

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measurement:
    """The metrics on one part; a review of an unknown movie counts as a movie.

    The calibration error has no interval. `ece_chance` is what a perfectly calibrated model would show on
    average, and `ece_chance_high` what it would exceed once in 20 times.
    """

    reviews: int
    movies: int
    intervals: Mapping[str, Interval]
    ece: float
    ece_chance: float
    ece_chance_high: float

    @property
    def accuracy(self) -> Interval:
        return self.intervals["accuracy"]

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """Return the metrics by the names under which they are logged."""
        return {
            **{f"{prefix}{name}": interval.value for name, interval in self.intervals.items()},
            f"{prefix}accuracy_low": self.accuracy.low,
            f"{prefix}accuracy_high": self.accuracy.high,
            f"{prefix}ece": self.ece,
            f"{prefix}ece_chance": self.ece_chance,
            f"{prefix}ece_chance_high": self.ece_chance_high,
        }


def measure(reviews: pd.DataFrame, positive: Probabilities, seed: int) -> Measurement:
    """Measure the probabilities of being positive, [reviews]; the intervals resample movies."""
    labels, movies = reviews["label"].to_numpy(), movie_codes(reviews["movie_id"])
    metrics = score(labels, positive)
    ece = metrics.pop("ece")
    ends = bootstrap(lambda counts: score_draws(labels, positive, counts), movies, seed)
    return Measurement(
        reviews=len(reviews),
        movies=len(np.unique(movies)),
        intervals={name: Interval(value, *ends[name]) for name, value in metrics.items()},
        ece=ece,
        **dict(zip(("ece_chance", "ece_chance_high"), chance_calibration_error(positive, seed), strict=True)),
    )
