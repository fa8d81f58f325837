import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, precision_score, roc_auc_score

from pipelines.statistics.intervals import bootstrap, mean_difference, proportion, resamples
from pipelines.statistics.scores import score, score_draws

LABELS = np.array([1, 1, 1, 0, 0])
POSITIVE = np.array([0.9, 0.5, 0.2, 0.6, 0.1])
NAMES = ("accuracy", "precision", "recall", "f1")


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and probabilities that correlate with them and have many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    return labels, np.clip(0.3 * labels + rng.random(count) * 0.7, 0.01, 0.99).round(2)


def without_ece(labels: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    return {name: value for name, value in score(labels, positive).items() if name != "ece"}


def test_precision_and_recall_are_those_of_the_positive_class() -> None:
    """Two true positives, one false positive, one false negative, one true negative."""
    found = score(LABELS, POSITIVE)
    assert [found[name] for name in NAMES] == pytest.approx([3 / 5, 2 / 3, 2 / 3, 2 / 3])


def test_scores_without_positive_predictions_are_zero() -> None:
    found = score(LABELS, np.zeros(5))
    assert [found[name] for name in NAMES] == pytest.approx([2 / 5, 0, 0, 0])


def test_a_bootstrap_draw_is_scored_like_a_set_of_its_reviews() -> None:
    labels, positive = answers(200, seed=3)
    counts = next(resamples(np.arange(200), seed=4))[:3]
    many = score_draws(labels, positive, np.vstack([np.ones((1, 200), int), counts]))
    assert {name: values[0] for name, values in many.items()} == pytest.approx(without_ece(labels, positive))
    for draw, own in enumerate(counts, start=1):
        drawn, seen = np.repeat(labels, own), np.repeat(positive, own)
        assert {name: values[draw] for name, values in many.items()} == pytest.approx(
            without_ece(drawn, seen)
        )
        assert many["roc_auc"][draw] == pytest.approx(roc_auc_score(labels, positive, sample_weight=own))
        weighted = average_precision_score(labels, positive, sample_weight=own)
        assert many["pr_auc"][draw] == pytest.approx(weighted)
        assert many["log_loss"][draw] == pytest.approx(log_loss(labels, positive, sample_weight=own))
        called = positive >= 0.5
        assert many["precision"][draw] == pytest.approx(precision_score(labels, called, sample_weight=own))


def test_the_bootstrap_is_seeded_and_has_the_theoretical_width() -> None:
    labels, positive = answers(1000, seed=5)
    first, repeated, other = (
        bootstrap(lambda counts: score_draws(labels, positive, counts), np.arange(1000), seed)
        for seed in (1, 1, 2)
    )
    assert first == repeated
    assert first != other
    accuracy = score(labels, positive)["accuracy"]
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 1000)
    assert first["accuracy"] == pytest.approx((accuracy - half, accuracy + half), abs=0.003)


def test_the_interval_of_a_perfect_score_has_a_width() -> None:
    """For 10 of 10, the lower end of Wilson's interval is 1 / (1 + 1.96^2 / 10)."""
    found = proportion(np.ones(10, bool), np.arange(10))
    assert found == pytest.approx((1, 1 / (1 + 1.96**2 / 10), 1), abs=1e-3)
    for share in (0, 1):
        for count in range(1, 60):
            value, low, high = proportion(np.full(count, share, bool), np.arange(count))
            assert 0 <= low <= value <= high <= 1


def test_intervals_count_movies_and_not_their_reviews() -> None:
    """All 20 reviews of a movie are alike: the intervals are those of 50 reviews, not of 1,000."""
    right = np.random.default_rng(1).random(50) < 0.8
    repeated, movies = np.repeat(right, 20), np.repeat(np.arange(50), 20)
    assert proportion(repeated, movies) == pytest.approx(proportion(right, np.arange(50)), abs=0.01)

    def accuracy(counts: np.ndarray) -> dict[str, np.ndarray]:
        chosen = repeated if counts.shape[1] == 1000 else right
        return {"accuracy": counts @ chosen / counts.sum(axis=1)}

    clustered, single = bootstrap(accuracy, movies, 1), bootstrap(accuracy, np.arange(50), 1)
    assert clustered["accuracy"] == pytest.approx(single["accuracy"])


def test_intervals_are_right_for_95_of_100_samples_of_movies() -> None:
    """A movie's reviews share half of their variance, as in 300 simulated evaluations."""
    rng = np.random.default_rng(2)
    movies = np.repeat(np.arange(60), 10)
    covered = 0
    for _ in range(300):
        easy = rng.random(60) < 0.5
        right = rng.random(600) < np.where(easy, 0.95, 0.55)[movies]
        low, high = proportion(right, movies)[1:]
        covered += low <= 0.75 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_a_difference_that_depends_on_the_seed_has_a_wide_interval() -> None:
    """Half of the seeds gain a tenth and half lose it: more reviews do not make that a gain."""
    gains = np.repeat([[0.1], [-0.1], [0.1], [-0.08]], 5000, axis=1)
    found = mean_difference(gains, np.arange(5000), seed=1)
    assert found.value == pytest.approx(0.005)
    assert found.low < -0.05
    assert found.high > 0.05
    same = mean_difference(np.full((4, 5000), 0.005), np.arange(5000), seed=1)
    assert same == pytest.approx((0.005, 0.005, 0.005))
