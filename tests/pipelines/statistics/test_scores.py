import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, precision_score, roc_auc_score

from pipelines.statistics.intervals import bootstrap, resamples, wilson
from pipelines.statistics.scores import score, score_draws

LABELS = np.array([1, 1, 1, 0, 0])
POSITIVE = np.array([0.9, 0.5, 0.2, 0.6, 0.1])
FOUR = ("accuracy", "precision", "recall", "f1")


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that know something of them, many of them equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    return labels, np.clip(0.3 * labels + rng.random(count) * 0.7, 0.01, 0.99).round(2)


def test_the_four_metrics_are_those_of_the_positive_class() -> None:
    """Two true positives, one false positive, one false negative, one true negative."""
    found = score(LABELS, POSITIVE)
    assert [found[name] for name in FOUR] == pytest.approx([3 / 5, 2 / 3, 2 / 3, 2 / 3])


def test_nothing_called_positive_is_no_error() -> None:
    found = score(LABELS, np.zeros(5))
    assert [found[name] for name in FOUR] == pytest.approx([2 / 5, 0, 0, 0])


def test_a_draw_is_scored_as_if_its_reviews_were_all_there_are() -> None:
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


def test_the_bootstrap_is_seeded_and_as_wide_as_theory_says() -> None:
    labels, positive = answers(1000, seed=5)
    once, again, other = (
        bootstrap(lambda counts: score_draws(labels, positive, counts), 1000, seed) for seed in (1, 1, 2)
    )
    assert once == again
    assert once != other
    accuracy = score(labels, positive)["accuracy"]
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 1000)
    assert once["accuracy"] == pytest.approx((accuracy - half, accuracy + half), abs=0.003)


def test_wilsons_interval_of_all_right_is_not_certainty() -> None:
    """10 of 10: the lower end is 1 / (1 + 1.96^2 / 10)."""
    assert wilson(10, 10) == pytest.approx((1, 1 / (1 + 1.96**2 / 10), 1), abs=1e-3)
