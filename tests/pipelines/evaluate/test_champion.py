import numpy as np
import pandas as pd
import pytest
from mlflow.entities.model_registry import ModelVersion

from pipelines.evaluate.champion import caveat, compare, in_words

REVIEWS = pd.DataFrame({"label": np.ones(1000, int), "movie_id": "unknown"})
TAGS = {"split_sha256": "a", "data_md5": "b"}


def champion(**tags: str) -> ModelVersion:
    version = ModelVersion("sentiment", "3", creation_timestamp=0)
    for name, value in (TAGS | tags).items():
        version.tags[name] = value
    return version


def answers(correct: int, count: int = 1000) -> np.ndarray:
    """Probabilities for positive reviews, of which the first `correct` are classified correctly."""
    return np.where(np.arange(count) < correct, 0.9, 0.1)


@pytest.mark.parametrize(
    ("new", "old", "words"),
    [
        (
            900,
            860,
            "better than the champion, version 3, by 4.0 points (95 % interval +2.9 to +5.3, p=1.8e-12)",
        ),
        (
            860,
            900,
            "worse than the champion, version 3, by 4.0 points (95 % interval -5.3 to -2.9, p=1.8e-12)",
        ),
        (900, 900, "correct on exactly the same reviews as the champion, version 3"),
    ],
)
def test_a_significant_difference_is_described_with_its_interval_and_p_value(
    new: int, old: int, words: str
) -> None:
    found = compare(REVIEWS, answers(new), answers(old), champion(), TAGS, seed=1)
    assert in_words(found) == words
    assert found.difference.value == pytest.approx((new - old) / 1000)
    assert found.caveat == ""


def test_a_difference_of_three_answers_is_not_significant() -> None:
    """All three favour one model. The probability that three coins all fall the same way is 1/4."""
    found = compare(REVIEWS, answers(903), answers(900), champion(), TAGS, seed=1)
    assert found.p == pytest.approx(0.25)
    assert in_words(found).startswith(
        "not significantly different from the champion, version 3 (+0.3 points, "
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"split_sha256": "x"}, "another split of these data"),
        ({"split_sha256": "x", "data_md5": "y"}, "other data"),
    ],
)
def test_a_champion_trained_on_other_reviews_gives_a_caveat(changed: dict[str, str], words: str) -> None:
    found = caveat(TAGS | changed, TAGS)
    assert words in found
    assert bool(found) == bool(changed)
