"""The results of an evaluation, as shown in the report and the model card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines.evaluate.behaviour import Verdict
from pipelines.evaluate.behaviour import in_words as verdict_in_words
from pipelines.evaluate.champion import Comparison
from pipelines.evaluate.measurement import Measurement
from pipelines.evaluate.throughput import Speed
from pipelines.served_form.known_words import LITTLE

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrainedRun:
    """The model's run with its params and tags, its training history, and the summary of `prepare`."""

    run_id: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    prepared: Mapping[str, Any]
    history: pd.DataFrame


@dataclass(frozen=True)
class Findings:
    """`positive` and `before` are probabilities [reviews] after and before temperature scaling.

    Everything is of the validation reviews, except for `test`, which nothing is chosen by.
    """

    trained: TrainedRun
    reviews: pd.DataFrame
    positive: Array
    before: Array
    temperature: float
    metrics: Mapping[str, float]
    validation: Measurement
    test: Measurement
    comparison: Comparison | None
    against: str
    slices: pd.DataFrame
    missing_slices: list[str]
    verdicts: list[Verdict]
    errors: pd.DataFrame
    doubted: pd.DataFrame
    doubts: int
    speed: Speed

    @property
    def labels(self) -> Labels:
        return self.reviews["label"].to_numpy()

    @property
    def little_known(self) -> str:
        """How many reviews have few words that training has seen, and how often the model is right there."""
        few = self.reviews["known_share"] < LITTLE
        if not few.any():
            return "none"
        right = (self.positive >= 0.5) == self.labels
        return f"{few.sum():,} ({few.mean():.2%}), accuracy {right[few].mean():.2f}"

    @property
    def behaviour(self) -> str:
        """The value of the run's `behaviour` tag: `passed`, or `failed:` with the reasons."""
        return verdict_in_words(self.verdicts)

    @property
    def weak(self) -> pd.DataFrame:
        """The slices, except movies, whose whole interval is below the overall accuracy.

        The intervals hold for all slices of a kind together, so that one of many is not listed by chance.
        """
        kinds = self.slices[~self.slices["slice"].str.endswith("movie")]
        return kinds[kinds["high"] < self.metrics["accuracy"]].sort_values("accuracy")

    @property
    def headline(self) -> str:
        validation, test = (
            f"{part.accuracy.value:.3f} (95 % interval {part.accuracy.low:.3f} to {part.accuracy.high:.3f})"
            f" on {part.reviews:,}"
            for part in (self.validation, self.test)
        )
        verdict = "passed" if self.behaviour == "passed" else "failed, so it will not be registered"
        return (
            f"Accuracy {validation} validation reviews, {test} test reviews; {self.against}; "
            f"behavioural tests {verdict}."
        )
