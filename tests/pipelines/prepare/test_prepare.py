from pathlib import Path

import pandas as pd
import pytest

from pipelines.core.errors import PipelineError
from pipelines.core.params import PrepareParams, load_params
from pipelines.prepare.cleaning import deduplicate, read_reviews
from pipelines.prepare.splitting import split, summary
from tests.project import ROOT


def table(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "review_id": [str(number) for number in range(len(rows))],
            "movie_id": "heat",
            "text": [text for text, _ in rows],
            "label": [label for _, label in rows],
            "split": "",
        }
    )


def test_duplicates_and_contradictory_labels_are_removed() -> None:
    kept = deduplicate(table(("Fine.", 1), ("fine.", 1), ("Mixed.", 0), ("Mixed.", 1), ("Dull.", 0)))
    assert kept["text"].tolist() == ["Fine.", "Dull."]


@pytest.fixture(scope="module")
def params() -> PrepareParams:
    return load_params(ROOT / "params.yaml").prepare


@pytest.fixture(scope="module")
def everything(reviews: Path) -> pd.DataFrame:
    return deduplicate(read_reviews(reviews))


def test_no_movie_is_in_two_parts(everything: pd.DataFrame, params: PrepareParams) -> None:
    parts = split(everything, params)
    assert sum(map(len, parts.values())) == len(everything)
    assert sum(part["movie_id"].nunique() for part in parts.values()) == everything["movie_id"].nunique()
    assert {name: part["movies_in_train"] for name, part in summary(parts).items()} == dict.fromkeys(parts, 0)
    assert len({text.casefold() for part in parts.values() for text in part["text"]}) == len(everything)


def test_the_parts_have_their_fractions_and_the_share_of_positive_reviews(
    everything: pd.DataFrame, params: PrepareParams
) -> None:
    parts = split(everything, params)
    left = len(everything)
    for name in ("test", "validation", "calibration"):
        fraction = getattr(params, f"{name}_fraction")
        assert len(parts[name]) == pytest.approx(fraction * left, rel=0.06)  # whole movies
        assert parts[name]["label"].mean() == pytest.approx(everything["label"].mean(), abs=0.02)
        left -= len(parts[name])


def test_the_split_is_seeded(everything: pd.DataFrame, params: PrepareParams) -> None:
    train = split(everything, params)["train"]
    pd.testing.assert_frame_equal(train, split(everything, params)["train"])
    other = split(everything, params.model_copy(update={"seed": params.seed + 1}))["train"]
    assert set(other["review_id"]) != set(train["review_id"])


@pytest.mark.parametrize(
    ("fraction", "unchanged"), [("calibration", ("validation", "test")), ("validation", ("test",))]
)
def test_a_fraction_does_not_change_the_parts_split_off_before(
    everything: pd.DataFrame, params: PrepareParams, fraction: str, unchanged: tuple[str, ...]
) -> None:
    """Otherwise models with different fractions could not be compared."""
    larger = params.model_copy(update={f"{fraction}_fraction": 0.3})
    one, other = split(everything, params), split(everything, larger)
    for name in unchanged:
        pd.testing.assert_frame_equal(one[name], other[name])
    assert len(other["train"]) < len(one["train"])


def test_the_official_test_split_is_the_test_part(everything: pd.DataFrame, params: PrepareParams) -> None:
    official = everything.assign(split=["test" if row % 3 == 0 else "" for row in range(len(everything))])
    parts = split(official, params)
    pd.testing.assert_frame_equal(parts["test"], official[official["split"] == "test"])
    assert len(parts["validation"]) == pytest.approx(0.2 * (len(everything) - len(parts["test"])), rel=0.03)
    assert summary(parts)["test"]["movies_in_train"] > 0  # this one shares movies, and the report says so


def test_reviews_of_unknown_movies_are_split_one_by_one(
    everything: pd.DataFrame, params: PrepareParams
) -> None:
    parts = split(everything.assign(movie_id="unknown"), params)
    assert len(parts["test"]) == pytest.approx(0.1 * len(everything), abs=1)
    assert summary(parts)["train"]["movies"] == 0


@pytest.mark.parametrize(("movie", "count"), [("unknown", 9), ("heat", 1)])
def test_too_few_reviews_or_movies_are_an_error_that_names_the_setting(
    params: PrepareParams, movie: str, count: int
) -> None:
    few = table(*((f"Fine {number}.", number % 2) for number in range(9))).assign(movie_id=movie)
    message = rf"9 reviews of {count} movies cannot be split by prepare\.test_fraction, 0\.1"
    with pytest.raises(PipelineError, match=message):
        split(few, params)


def test_a_file_without_the_column_split_has_no_official_test_split(reviews: Path, tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    pd.read_csv(reviews, keep_default_na=False).drop(columns="split").to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_reviews(path), read_reviews(reviews), check_dtype=False)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", 2, r"label, row 0: 2 fails isin"),
        ("movie_id", "no spaces", r"movie_id, row 0: 'no spaces' fails str_matches"),
        ("text", " ", r"text, row 0: ' ' fails str_contains"),
    ],
)
def test_an_invalid_row_is_named(tmp_path: Path, column: str, value: int | str, message: str) -> None:
    path = tmp_path / "reviews.csv"
    bad = table(("Fine.", 1))
    bad[column] = value
    bad.to_csv(path, index=False)
    with pytest.raises(PipelineError, match=message):
        read_reviews(path)


def test_a_missing_file_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="make ingest"):
        read_reviews(tmp_path / "reviews.csv")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    table(("Fine.", 1)).drop(columns="label").to_csv(path, index=False)
    with pytest.raises(PipelineError, match="label"):
        read_reviews(path)
