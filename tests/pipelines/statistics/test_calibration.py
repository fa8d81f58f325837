import numpy as np
import pytest

from pipelines.core.errors import PipelineError
from pipelines.statistics.calibration import (
    calibration_error,
    chance_calibration_error,
    fit_temperature,
    mean_softmax,
    reliability,
)


def logits_scaled_by(factor: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Return logits of one or two equal windows, and labels with the probabilities of logits / factor."""
    rng = np.random.default_rng(7)
    margin = rng.normal(0, 2, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-margin))).astype(int)
    rows = np.column_stack([np.zeros(4000), margin]) * factor
    return [np.tile(row, (1 + number % 2, 1)) for number, row in enumerate(rows)], labels


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_temperature_corrects_over_and_underconfidence(factor: float) -> None:
    logits, labels = logits_scaled_by(factor)
    temperature = fit_temperature(logits, labels, positive=1)
    assert temperature == pytest.approx(factor, rel=0.1)
    calibrated = mean_softmax(logits, temperature)[:, 1]
    assert calibration_error(labels, calibrated) < 0.03
    if factor == 3:
        assert calibration_error(labels, mean_softmax(logits)[:, 1]) > 0.08


def test_the_probability_of_a_text_is_the_mean_of_its_windows() -> None:
    """The windows of the second text have 0.5 and 0.75."""
    odds = np.log(3)
    logits = [np.array([[0, odds]]), np.array([[0, 0], [0, odds]]), np.array([[odds, 0]])]
    np.testing.assert_allclose(mean_softmax(logits)[:, 1], [0.75, 0.625, 0.25])


def test_the_temperature_stays_within_its_limits() -> None:
    """The best temperature is 0 for a model that is always right, and infinite for one that never is."""
    logits = [np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])]
    assert fit_temperature(logits, np.array([1, 0]), 1) == pytest.approx(0.1, rel=0.01)
    assert fit_temperature(logits, np.array([0, 1]), 1) == pytest.approx(10, rel=0.01)


def test_reviews_with_only_one_label_are_an_error() -> None:
    with pytest.raises(PipelineError, match="all 2 calibration reviews have the same label"):
        fit_temperature([np.zeros((1, 2))] * 2, np.array([1, 1]), 1)


def test_a_perfect_model_has_the_calibration_error_of_chance() -> None:
    """Of 200 sets of labels drawn from the probabilities, one in 20 exceeds the quantile."""
    rng = np.random.default_rng(3)
    positive = rng.beta(0.4, 0.4, 2000)
    mean, high = chance_calibration_error(positive, seed=1)
    errors = [calibration_error((rng.random(2000) < positive).astype(int), positive) for _ in range(200)]
    assert np.mean(errors) == pytest.approx(mean, rel=0.05)
    assert 0.01 <= np.mean(np.array(errors) > high) <= 0.1
    wrong = np.clip(positive * 1.3, 0, 1)
    assert calibration_error((rng.random(2000) < positive).astype(int), wrong) > high


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    """Ten answers with confidence 0.8, six of them correct, and ten with confidence 1.0, all correct."""
    labels = np.array([1, 0] * 5 + [1] * 10)
    positive = np.array([0.8, 0.2] * 3 + [0.2, 0.8] * 2 + [1.0] * 10)
    assert reliability(labels, positive).to_numpy() == pytest.approx(np.array([[0.8, 0.6, 10], [1, 1, 10]]))
    assert calibration_error(labels, positive) == pytest.approx(0.1)
