"""The accuracy that the served form loses compared with the trained model."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


def compare(labels: Labels, served: Probabilities, reference: Probabilities) -> dict[str, float]:
    """Compare the served form with the reference: accuracies, agreement and probability difference."""
    correct, reference_correct = (served >= 0.5) == labels, (reference >= 0.5) == labels
    return {
        "reference_accuracy": float(reference_correct.mean()),
        "accuracy_loss": float(reference_correct.mean() - correct.mean()),
        "agreement": float((correct == reference_correct).mean()),
        "max_probability_difference": float(np.abs(served - reference).max()),
    }


def loss_refused(metrics: Mapping[str, float], limit: float) -> str:
    """Return why the served form loses too much accuracy, or "" if it loses at most `limit`."""
    if metrics["accuracy_loss"] > limit:
        return (
            f"the served form has accuracy {metrics['accuracy']:.4f}, the trained model "
            f"{metrics['reference_accuracy']:.4f}: the loss of {metrics['accuracy_loss']:.4f} exceeds "
            f"export.max_accuracy_loss, {limit}. Set export.precision to fp32, calibrate on more reviews "
            "(export.calibration_reviews), or raise the limit."
        )
    return ""
