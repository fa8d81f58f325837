import numpy as np
import pytest

from pipelines.evaluate.accuracy_loss import compare, compare_without_vnni, loss_refused

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


def test_without_vnni_the_same_figures_have_names_of_their_own() -> None:
    trained = np.array([0.9, 0.5, 0.2, 0.3, 0.1])
    assert compare_without_vnni(LABELS, POSITIVE, trained) == pytest.approx(
        {"accuracy_without_vnni": 3 / 5, "accuracy_loss_without_vnni": 1 / 5, "agreement_without_vnni": 4 / 5}
    )


@pytest.mark.parametrize(("suffix", "where"), [("", ","), ("_without_vnni", " on a processor without VNNI,")])
def test_a_loss_above_the_limit_is_refused_naming_the_setting(suffix: str, where: str) -> None:
    none = {
        "accuracy": 0.83,
        "accuracy_loss": 0.0,
        "accuracy_without_vnni": 0.83,
        "accuracy_loss_without_vnni": 0.0,
    }
    lost = {f"accuracy{suffix}": 0.80, f"accuracy_loss{suffix}": 0.03}
    metrics = {"reference_accuracy": 0.83, **none, **lost}
    assert loss_refused(metrics, limit=0.03) == ""
    refused = loss_refused(metrics, limit=0.02)
    assert f"accuracy 0.8000{where}" in refused
    assert "0.0300 exceeds export.max_accuracy_loss, 0.02. Set" in refused
