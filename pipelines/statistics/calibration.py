"""Probabilities that mean what they say: of the reviews at 0.8, eight of ten are what they are taken for."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar

from pipelines.core.errors import PipelineError

BINS = 15
COLDEST, HOTTEST = 0.1, 10.0

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]
Logits = Sequence[Array]
"""Of each text its windows: [windows, labels]."""


def mean_softmax(logits: Logits, temperature: float = 1.0) -> Array:
    """The probabilities of each text, [texts, labels]: the mean of those of its windows."""
    scaled = np.concatenate(list(logits)) / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    starts = np.cumsum([0, *(len(own) for own in logits[:-1])])
    answers = np.add.reduceat(odds / odds.sum(axis=1, keepdims=True), starts, axis=0)
    return np.asarray(answers / np.array([[len(own)] for own in logits]))


def negative_log_likelihood(labels: Labels, positive: Array) -> float:
    """The mean of -ln of the probability of what the review is; a probability of 0 counts as 1e-15."""
    right = np.where(labels == 1, positive, 1 - positive)
    return float(-np.log(np.clip(right, 1e-15, 1)).mean())


def fit_temperature(logits: Logits, labels: Labels, positive: int) -> float:
    """What logits are divided by so that the labels become likeliest: over 1 the model was too sure.

    `positive` is the column of that label. The temperature is between 0.1, where a model that is always
    right would end, and 10, where one would that knows nothing. Raises PipelineError when the labels are
    all the same.
    """
    if len(np.unique(labels)) < 2:
        raise PipelineError(
            f"all {len(labels):,} calibration reviews have one label: raise prepare.calibration_fraction"
        )

    def cost(log_temperature: float) -> float:
        answers = mean_softmax(logits, float(np.exp(log_temperature)))
        return negative_log_likelihood(labels, answers[:, positive])

    limits = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(cost, bounds=limits, method="bounded").x))


def of_confidence(labels: Labels, positive: Array) -> tuple[Array, npt.NDArray[np.bool_], Labels]:
    """Of each review the probability of what it is taken for, whether that is right, and its bin.

    The bins are 15 of equal width between 0.5 and 1.
    """
    confidence = np.maximum(positive, 1 - positive)
    bins = np.minimum((confidence - 0.5) * 2 * BINS, BINS - 1).astype(int)
    return confidence, (positive >= 0.5) == (labels == 1), bins


def reliability(labels: Labels, positive: Array) -> pd.DataFrame:
    """How often answers of like confidence are right: confidence, accuracy and count by bin, if any."""
    confidence, right, bins = of_confidence(labels, positive)
    table = pd.DataFrame({"confidence": confidence, "accuracy": right, "count": 1}).groupby(bins)
    return table.agg({"confidence": "mean", "accuracy": "mean", "count": "sum"}).reset_index(drop=True)


def calibration_error(labels: Labels, positive: Array) -> float:
    """The expected calibration error (Guo et al. 2017): the mean gap of `reliability`, by count."""
    table = reliability(labels, positive)
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float(np.average(gaps, weights=table["count"]))
