"""Calibration: temperature scaling, reliability and the expected calibration error (Guo et al., 2017)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar

from pipelines.core.errors import PipelineError

BINS = 15
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 10.0
_DRAWS, _CHUNK = 1000, 100

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]
Logits = Sequence[Array]
"""One array [windows, labels] per text."""


def mean_softmax(logits: Logits, temperature: float = 1.0) -> Array:
    """Return each text's probabilities, the mean over its windows: [texts, labels]."""
    scaled = np.concatenate(list(logits)) / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    starts = np.cumsum([0, *(len(windows) for windows in logits[:-1])])
    sums = np.add.reduceat(odds / odds.sum(axis=1, keepdims=True), starts, axis=0)
    return np.asarray(sums / np.array([[len(windows)] for windows in logits]))


def negative_log_likelihood(labels: Labels, positive: Array) -> float:
    """Return the mean negative log of the true label's probability, clipped at 1e-15."""
    of_label = np.where(labels == 1, positive, 1 - positive)
    return float(-np.log(np.clip(of_label, 1e-15, 1)).mean())


def fit_temperature(logits: Logits, labels: Labels, positive: int) -> float:
    """Return the temperature, 0.1 to 10, that maximises the labels' likelihood; above 1: overconfident model.

    `positive` is the column of the positive label. The optimum would be 0 for a model that is always right
    and infinite for one that knows nothing, hence the limits. Raises PipelineError if all labels are equal.
    """
    if len(np.unique(labels)) < 2:
        raise PipelineError(
            f"all {len(labels):,} calibration reviews have the same label: raise prepare.calibration_fraction"
        )

    def cost(log_temperature: float) -> float:
        probabilities = mean_softmax(logits, float(np.exp(log_temperature)))
        return negative_log_likelihood(labels, probabilities[:, positive])

    limits = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(cost, bounds=limits, method="bounded").x))


def by_confidence(labels: Labels, positive: Array) -> tuple[Array, npt.NDArray[np.bool_], Labels]:
    """Return each review's confidence, whether its prediction is correct, and its bin.

    Confidence is the predicted label's probability; the 15 bins of equal width are between 0.5 and 1.
    """
    confidence = np.maximum(positive, 1 - positive)
    bins = np.minimum((confidence - 0.5) * 2 * BINS, BINS - 1).astype(int)
    return confidence, (positive >= 0.5) == (labels == 1), bins


def reliability(labels: Labels, positive: Array) -> pd.DataFrame:
    """Return the mean confidence, accuracy and count of each bin that is not empty."""
    confidence, correct, bins = by_confidence(labels, positive)
    table = pd.DataFrame({"confidence": confidence, "accuracy": correct, "count": 1}).groupby(bins)
    return table.agg({"confidence": "mean", "accuracy": "mean", "count": "sum"}).reset_index(drop=True)


def calibration_error(labels: Labels, positive: Array) -> float:
    """Return the expected calibration error: the gaps of `reliability`, averaged by count.

    It is biased upwards: chance makes gaps too. `chance_calibration_error` says how large they are.
    """
    table = reliability(labels, positive)
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float(np.average(gaps, weights=table["count"]))


def chance_calibration_error(positive: Array, seed: int) -> tuple[float, float]:
    """Return the calibration error of a perfect model with these probabilities: its mean and 95 % quantile.

    The labels are drawn from the probabilities, 1,000 times. An error within the quantile can be chance.
    """
    confidence, _, bins = by_confidence(np.zeros(len(positive), dtype=np.int64), positive)
    of_bin = np.eye(BINS)[bins]
    rng = np.random.default_rng(seed)
    correct = [rng.random((_CHUNK, len(positive))) < confidence for _ in range(_DRAWS // _CHUNK)]
    errors = np.concatenate([np.abs((confidence - draws) @ of_bin).sum(axis=1) for draws in correct])
    errors /= len(positive)
    return float(errors.mean()), float(np.quantile(errors, 0.95))
