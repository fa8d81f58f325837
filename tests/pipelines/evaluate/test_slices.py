import numpy as np
import pandas as pd
import pytest

from pipelines.evaluate.label_errors import likely_label_errors, worst_errors
from pipelines.evaluate.slices import slices
from pipelines.statistics.intervals import proportion


def reviews(count: int, movie: str = "heat", ids: str = "{}") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "review_id": [ids.format(number) for number in range(count)],
            "movie_id": movie,
            "text": [" ".join(["word"] * (1 + number)) for number in range(count)],
            "label": [number % 2 for number in range(count)],
            "known_share": 1.0,
        }
    )


def rows(table: pd.DataFrame, name: str) -> dict[str, tuple[int, float]]:
    """Return count and accuracy by value of the slice `name`."""
    found = table[table["slice"] == name]
    return dict(zip(found["value"], zip(found["count"], found["accuracy"], strict=True), strict=True))


def test_each_slice_has_its_count_accuracy_and_interval() -> None:
    table, missing = slices(reviews(20), np.arange(20) < 15)
    assert rows(table, "label") == {"negative": (10, 0.8), "positive": (10, 0.7)}
    assert rows(table, "length")["1 to 4 words"] == (4, 1.0)
    assert rows(table, "length")["17 to 20 words"] == (4, 0.0)
    (heat,) = table[table["slice"] == "worst movie"].itertuples(index=False, name=None)
    assert heat == ("worst movie", "heat", 20, *proportion(np.arange(20) < 15, np.zeros(20, int)))
    assert [why.partition(":")[0] for why in missing] == ["rating"]


def test_the_intervals_of_a_kind_hold_together() -> None:
    """Of 200 tables of a model that is equally good everywhere, at most one in 20 has a slice that is not."""
    rng = np.random.default_rng(4)
    some = reviews(300, movie="unknown")
    wrong = 0.0
    for _ in range(200):
        table, _ = slices(some, rng.random(300) < 0.8)
        wrong += ((table["low"] > 0.8) | (table["high"] < 0.8)).any()
    assert wrong / 200 <= 0.08


@pytest.mark.parametrize(
    "negated", ["It is not good.", "It isn't good.", "It isn\u2019t good.", "Never again."]
)
def test_negation_is_detected(negated: str) -> None:
    """But not in `knot` and `nothingness`."""
    some = reviews(6).assign(text=[negated, *["A knot of nothingness."] * 5])
    table, _ = slices(some, np.arange(6) > 0)
    assert rows(table, "negation") == {"with": (1, 0.0), "without": (5, 1.0)}


def test_the_rating_is_read_from_the_ids_of_imdb() -> None:
    some = reviews(4).assign(review_id=["train-pos-0_10", "train-neg-1_1", "train-neg-2_4", "train-pos-3_7"])
    table, missing = slices(some, np.array([True, True, True, False]))
    assert rows(table, "rating") == {"1 or 10 stars": (2, 1.0), "4 or 7 stars": (2, 0.5)}
    assert not any(why.startswith("rating") for why in missing)


def test_reviews_are_sliced_by_the_share_of_known_words() -> None:
    some = reviews(5).assign(known_share=[0.0, 0.49, 0.5, 0.9, 1.0])
    table, _ = slices(some, np.arange(5) > 0)
    assert rows(table, "known words") == {
        "under 50 %": (2, 0.5),
        "50 to 75 %": (1, 1.0),
        "90 to 100 %": (2, 1.0),
    }


def test_unknown_and_rare_movies_are_not_slices() -> None:
    for some in (reviews(20, movie="unknown"), reviews(9)):
        table, missing = slices(some, np.ones(len(some), bool))
        assert not table["slice"].str.endswith("movie").any()
        assert any(why.startswith("movie") for why in missing)


def test_the_worst_movies_are_ordered_by_the_upper_end_of_the_interval() -> None:
    """5 of 20 correct is worse than 2 of 10, because it is more certain."""
    some = pd.concat([reviews(20, "heat", "h{}"), reviews(10, "alien", "a{}")], ignore_index=True)
    correct = np.r_[np.arange(20) < 5, np.arange(10) < 2]
    table, _ = slices(some, correct)
    assert [*rows(table, "worst movie")] == ["heat", "alien"]


def test_errors_are_listed_worst_first_without_correct_answers() -> None:
    found = worst_errors(reviews(4), np.array([0.9, 0.4, 0.2, 0.01]))
    assert found["review_id"].tolist() == ["3", "0", "1"]
    assert found["loss"].tolist() == pytest.approx([-np.log(0.01), -np.log(0.1), -np.log(0.4)])


def test_a_label_contradicted_with_high_confidence_is_a_likely_error() -> None:
    some = reviews(100)
    positive = np.where(some["label"] == 1, 0.95, 0.05)
    positive[[10, 31]] = 0.97, 0.02
    found, count = likely_label_errors(some, positive)
    assert count == 2
    assert set(found["review_id"]) == {"10", "31"}
