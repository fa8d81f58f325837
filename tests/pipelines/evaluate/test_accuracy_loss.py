import numpy as np
import pytest

from pipelines.evaluate.accuracy_loss import compare, loss_refused

LABELS = np.array([1, 1, 1, 0, 0])
POSITIVE = np.array([0.9, 0.5, 0.2, 0.6, 0.1])


def test_the_served_form_is_compared_with_the_trained_one() -> None:
    """One of five answers is right in the trained form and wrong in the served form."""
    trained = np.array([0.9, 0.5, 0.2, 0.3, 0.1])
    assert compare(LABELS, POSITIVE, trained) == pytest.approx(
        {
            "reference_accuracy": 4 / 5,
            "accuracy_loss": 1 / 5,
            "agreement": 4 / 5,
            "max_probability_difference": 0.3,
        }
    )


def test_a_loss_above_the_limit_is_refused_naming_the_setting() -> None:
    metrics = {"accuracy": 0.80, "reference_accuracy": 0.83, "accuracy_loss": 0.03}
    assert loss_refused(metrics, limit=0.03) == ""
    assert "0.0300 exceeds export.max_accuracy_loss, 0.02. Set" in loss_refused(metrics, limit=0.02)
