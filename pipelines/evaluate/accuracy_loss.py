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


def compare_without_vnni(labels: Labels, served: Probabilities, reference: Probabilities) -> dict[str, float]:
    """Compare what the served form answers on a processor without VNNI with the reference."""
    found = compare(labels, served, reference)
    return {
        "accuracy_without_vnni": float(((served >= 0.5) == labels).mean()),
        "accuracy_loss_without_vnni": found["accuracy_loss"],
        "agreement_without_vnni": found["agreement"],
    }


def loss_refused(metrics: Mapping[str, float], limit: float) -> str:
    """Return why the served form loses too much accuracy, with VNNI or without, or "" if it does not."""
    for suffix, where in (("", ""), ("_without_vnni", " on a processor without VNNI")):
        if (loss := metrics[f"accuracy_loss{suffix}"]) > limit:
            return (
                f"the served form has accuracy {metrics[f'accuracy{suffix}']:.4f}{where}, the trained model "
                f"{metrics['reference_accuracy']:.4f}: the loss of {loss:.4f} exceeds "
                f"export.max_accuracy_loss, {limit}. Set export.precision to fp32, calibrate on more reviews "
                "(export.calibration_reviews), or raise the limit."
            )
    return ""
