"""How much accuracy the served form lost against the trained model."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipelines.core.errors import PipelineError

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


def compare(labels: Labels, served: Probabilities, reference: Probabilities) -> dict[str, float]:
    """What the served form lost against the trained one: shares of the reviews, and probabilities."""
    right, were_right = (served >= 0.5) == labels, (reference >= 0.5) == labels
    return {
        "reference_accuracy": float(were_right.mean()),
        "accuracy_loss": float(were_right.mean() - right.mean()),
        "agreement": float((right == were_right).mean()),
        "max_probability_difference": float(np.abs(served - reference).max()),
    }


def refuse_loss(metrics: Mapping[str, float], limit: float) -> None:
    """Raise PipelineError when the served form is less accurate than the trained one by over `limit`."""
    if metrics["accuracy_loss"] > limit:
        raise PipelineError(
            f"the served form has accuracy {metrics['accuracy']:.4f}, the trained one "
            f"{metrics['reference_accuracy']:.4f}: a loss of {metrics['accuracy_loss']:.4f}, and "
            f"export.max_accuracy_loss is {limit}. Set export.precision to fp32, calibrate on more reviews "
            "(export.calibration_reviews), or allow the loss."
        )
