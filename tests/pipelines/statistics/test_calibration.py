import numpy as np
import pytest

from pipelines.core.errors import PipelineError
from pipelines.statistics.calibration import calibration_error, fit_temperature, mean_softmax, reliability


def sure_by(factor: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits of one or two equal windows whose labels are drawn with the probabilities of logits / factor."""
    rng = np.random.default_rng(7)
    margin = rng.normal(0, 2, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-margin))).astype(int)
    rows = np.column_stack([np.zeros(4000), margin]) * factor
    return [np.tile(row, (1 + number % 2, 1)) for number, row in enumerate(rows)], labels


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_temperature_takes_back_what_the_model_was_too_sure_of(factor: float) -> None:
    logits, labels = sure_by(factor)
    temperature = fit_temperature(logits, labels, positive=1)
    assert temperature == pytest.approx(factor, rel=0.1)
    calibrated = mean_softmax(logits, temperature)[:, 1]
    assert calibration_error(labels, calibrated) < 0.03
    if factor == 3:
        assert calibration_error(labels, mean_softmax(logits)[:, 1]) > 0.08


def test_a_text_has_the_mean_of_its_windows() -> None:
    """The windows of the second text say 0.5 and 0.75."""
    odds = np.log(3)
    logits = [np.array([[0, odds]]), np.array([[0, 0], [0, odds]]), np.array([[odds, 0]])]
    np.testing.assert_allclose(mean_softmax(logits)[:, 1], [0.75, 0.625, 0.25])


def test_the_temperature_stays_within_its_limits() -> None:
    """A model that is always right would become ever more sure, one that is always wrong ever less."""
    logits = [np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])]
    assert fit_temperature(logits, np.array([1, 0]), 1) == pytest.approx(0.1, rel=0.01)
    assert fit_temperature(logits, np.array([0, 1]), 1) == pytest.approx(10, rel=0.01)


def test_reviews_of_one_label_give_no_temperature() -> None:
    with pytest.raises(PipelineError, match="all 2 calibration reviews have the same label"):
        fit_temperature([np.zeros((1, 2))] * 2, np.array([1, 1]), 1)


def test_the_error_is_the_gap_between_confidence_and_accuracy() -> None:
    """Ten answers at 0.8, of which six are right, either label; and ten at 1.0, all right."""
    labels = np.array([1, 0] * 5 + [1] * 10)
    positive = np.array([0.8, 0.2] * 3 + [0.2, 0.8] * 2 + [1.0] * 10)
    assert reliability(labels, positive).to_numpy() == pytest.approx(np.array([[0.8, 0.6, 10], [1, 1, 10]]))
    assert calibration_error(labels, positive) == pytest.approx(0.1)
