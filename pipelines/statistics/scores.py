"""Every figure of how well the answers fit the labels, once, and for many draws of the reviews."""

import evaluate
import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from pipelines.statistics import classification_metric as metrics_module
from pipelines.statistics.calibration import BINS, calibration_error, negative_log_likelihood, of_confidence
from pipelines.statistics.intervals import Counts

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


def score(labels: Labels, positive: Array) -> dict[str, float]:
    """The four figures of calling a review positive from probability 0.5 up, and five of the probabilities.

    The areas need both labels; with one they are not a number.
    """
    metric = evaluate.load(str(metrics_module.__file__))
    called = (positive >= 0.5).astype(int)
    figures: dict[str, float] = metric.compute(predictions=called, references=labels.astype(int))
    both = len(np.unique(labels)) == 2
    return figures | {
        "log_loss": negative_log_likelihood(labels, positive),
        "roc_auc": float(roc_auc_score(labels, positive)) if both else float("nan"),
        "pr_auc": float(average_precision_score(labels, positive)) if both else float("nan"),
        "brier": float(brier_score_loss(labels, positive)),
        "ece": calibration_error(labels, positive),
    }


def score_draws(labels: Labels, positive: Array, counts: Counts) -> dict[str, Array]:
    """The same figures, each [draws], of reviews that count [draws, reviews] times."""
    total = counts.sum(axis=1)
    called = positive >= 0.5
    true_positive, taken, are = (
        (counts @ chosen).astype(float) for chosen in (called & (labels == 1), called, labels == 1)
    )
    right = np.where(labels == 1, positive, 1 - positive)
    with np.errstate(invalid="ignore"):  # a draw in which nothing is positive has no precision
        four = {
            "accuracy": counts @ (called == labels) / total,
            "precision": true_positive / taken,
            "recall": true_positive / are,
            "f1": 2 * true_positive / (taken + are),
        }
    return four | {
        "log_loss": counts @ -np.log(np.clip(right, 1e-15, 1)) / total,
        "brier": counts @ np.square(labels - positive) / total,
        "ece": gaps(labels, positive, counts) / total,
        **areas(labels, positive, counts),
    }


def gaps(labels: Labels, positive: Array, counts: Counts) -> Array:
    """The expected calibration error of each draw, times its reviews."""
    confidence, right, bins = of_confidence(labels, positive)
    of_bin = np.eye(BINS)[bins] * (confidence - right)[:, None]
    return np.asarray(np.abs(counts @ of_bin).sum(axis=1))


def areas(labels: Labels, positive: Array, counts: Counts) -> dict[str, Array]:
    """The areas under ROC and under precision over recall of each draw; equal probabilities are one step."""
    order = np.argsort(-positive, kind="stable")
    steps = np.flatnonzero(np.r_[True, np.diff(positive[order]) != 0])
    positives, negatives = (
        np.add.reduceat(counts[:, order] * (labels[order] == label), steps, axis=1).astype(float)
        for label in (1, 0)
    )
    found, mistaken = positives.cumsum(axis=1), negatives.cumsum(axis=1)
    with np.errstate(invalid="ignore"):  # nothing drawn yet, or only one label
        outranked = (negatives * (found - positives / 2)).sum(axis=1)
        precision = np.nan_to_num(found / (found + mistaken))
        return {
            "roc_auc": outranked / (found[:, -1] * mistaken[:, -1]),
            "pr_auc": (positives * precision).sum(axis=1) / found[:, -1],
        }
