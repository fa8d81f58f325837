import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, precision_score, roc_auc_score

from pipelines.statistics.intervals import bootstrap, resamples, wilson
from pipelines.statistics.scores import score, score_draws

LABELS = np.array([1, 1, 1, 0, 0])
POSITIVE = np.array([0.9, 0.5, 0.2, 0.6, 0.1])
NAMES = ("accuracy", "precision", "recall", "f1")


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and probabilities that correlate with them and have many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    return labels, np.clip(0.3 * labels + rng.random(count) * 0.7, 0.01, 0.99).round(2)


def test_precision_and_recall_are_those_of_the_positive_class() -> None:
    """Two true positives, one false positive, one false negative, one true negative."""
    found = score(LABELS, POSITIVE)
    assert [found[name] for name in NAMES] == pytest.approx([3 / 5, 2 / 3, 2 / 3, 2 / 3])


def test_scores_without_positive_predictions_are_zero() -> None:
    found = score(LABELS, np.zeros(5))
    assert [found[name] for name in NAMES] == pytest.approx([2 / 5, 0, 0, 0])


def test_a_bootstrap_draw_is_scored_like_a_set_of_its_reviews() -> None:
    labels, positive = answers(200, seed=3)
    counts = next(resamples(200, seed=4))[:3]
    many = score_draws(labels, positive, np.vstack([np.ones((1, 200), int), counts]))
    assert {name: values[0] for name, values in many.items()} == pytest.approx(score(labels, positive))
    for draw, own in enumerate(counts, start=1):
        drawn, seen = np.repeat(labels, own), np.repeat(positive, own)
        assert {name: values[draw] for name, values in many.items()} == pytest.approx(score(drawn, seen))
        assert many["roc_auc"][draw] == pytest.approx(roc_auc_score(labels, positive, sample_weight=own))
        weighted = average_precision_score(labels, positive, sample_weight=own)
        assert many["pr_auc"][draw] == pytest.approx(weighted)
        assert many["log_loss"][draw] == pytest.approx(log_loss(labels, positive, sample_weight=own))
        called = positive >= 0.5
        assert many["precision"][draw] == pytest.approx(precision_score(labels, called, sample_weight=own))


def test_the_bootstrap_is_seeded_and_has_the_theoretical_width() -> None:
    labels, positive = answers(1000, seed=5)
    first, repeated, other = (
        bootstrap(lambda counts: score_draws(labels, positive, counts), 1000, seed) for seed in (1, 1, 2)
    )
    assert first == repeated
    assert first != other
    accuracy = score(labels, positive)["accuracy"]
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 1000)
    assert first["accuracy"] == pytest.approx((accuracy - half, accuracy + half), abs=0.003)


def test_the_wilson_interval_of_a_perfect_score_has_a_width() -> None:
    """For 10 of 10, the lower end is 1 / (1 + 1.96^2 / 10)."""
    assert wilson(10, 10) == pytest.approx((1, 1 / (1 + 1.96**2 / 10), 1), abs=1e-3)
