"""All metrics of predictions against labels, for one set of reviews and for bootstrap resamples."""

import evaluate
import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from pipelines.statistics import classification_metric as metrics_module
from pipelines.statistics.calibration import calibration_error, negative_log_likelihood
from pipelines.statistics.intervals import Counts

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


def score(labels: Labels, positive: Array) -> dict[str, float]:
    """Return four metrics of the predictions at threshold 0.5 and five of the probabilities.

    `roc_auc` and `pr_auc` are NaN unless both labels occur.
    """
    metric = evaluate.load(str(metrics_module.__file__))
    predicted = (positive >= 0.5).astype(int)
    metrics: dict[str, float] = metric.compute(predictions=predicted, references=labels.astype(int))
    both = len(np.unique(labels)) == 2
    return metrics | {
        "log_loss": negative_log_likelihood(labels, positive),
        "roc_auc": float(roc_auc_score(labels, positive)) if both else float("nan"),
        "pr_auc": float(average_precision_score(labels, positive)) if both else float("nan"),
        "brier": float(brier_score_loss(labels, positive)),
        "ece": calibration_error(labels, positive),
    }


def score_draws(labels: Labels, positive: Array, counts: Counts) -> dict[str, Array]:
    """Return the metrics of `score`, each [draws], for reviews drawn `counts` times, [draws, reviews].

    The calibration error is left out: it is biased upwards, in a resample more than in the reviews.
    """
    total = counts.sum(axis=1)
    predicted = positive >= 0.5
    true_positive, predicted_positive, labelled_positive = (
        (counts @ chosen).astype(float) for chosen in (predicted & (labels == 1), predicted, labels == 1)
    )
    of_label = np.where(labels == 1, positive, 1 - positive)
    with np.errstate(invalid="ignore"):  # precision is undefined without positive predictions
        at_threshold = {
            "accuracy": counts @ (predicted == labels) / total,
            "precision": true_positive / predicted_positive,
            "recall": true_positive / labelled_positive,
            "f1": 2 * true_positive / (predicted_positive + labelled_positive),
        }
    return at_threshold | {
        "log_loss": counts @ -np.log(np.clip(of_label, 1e-15, 1)) / total,
        "brier": counts @ np.square(labels - positive) / total,
        **areas(labels, positive, counts),
    }


def areas(labels: Labels, positive: Array, counts: Counts) -> dict[str, Array]:
    """Return the areas under the ROC and precision-recall curves, [draws]; ties share one threshold."""
    order = np.argsort(-positive, kind="stable")
    steps = np.flatnonzero(np.r_[True, np.diff(positive[order]) != 0])
    positives, negatives = (
        np.add.reduceat(counts[:, order] * (labels[order] == label), steps, axis=1).astype(float)
        for label in (1, 0)
    )
    found, mistaken = positives.cumsum(axis=1), negatives.cumsum(axis=1)
    with np.errstate(invalid="ignore"):  # thresholds without draws, or draws with one label
        outranked = (negatives * (found - positives / 2)).sum(axis=1)
        precision = np.nan_to_num(found / (found + mistaken))
        return {
            "roc_auc": outranked / (found[:, -1] * mistaken[:, -1]),
            "pr_auc": (positives * precision).sum(axis=1) / found[:, -1],
        }
