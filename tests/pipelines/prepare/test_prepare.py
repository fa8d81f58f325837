from pathlib import Path

import pandas as pd
import pytest

from pipelines.core.errors import PipelineError
from pipelines.core.params import load_params
from pipelines.prepare.cleaning import clean, deduplicate, read_reviews
from pipelines.prepare.splitting import split
from tests.project import ROOT


def table(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "review_id": [str(number) for number in range(len(rows))],
            "movie_id": "heat",
            "text": [text for text, _ in rows],
            "label": [label for _, label in rows],
        }
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Loud.<br /><br />Long.", "Loud. Long."),
        ("  two\n\n lines ", "two lines"),
        ("Lilo &amp; Stitch", "Lilo & Stitch"),
        ("&lt;br&gt;escaped", "escaped"),
        ("a <3 for 2 > 1", "a <3 for 2 > 1"),
        ("", ""),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_duplicates_and_contradictory_labels_are_removed() -> None:
    kept = deduplicate(table(("Fine.", 1), ("fine.", 1), ("Mixed.", 0), ("Mixed.", 1), ("Dull.", 0)))
    assert kept["text"].tolist() == ["Fine.", "Dull."]


def test_the_split_is_stratified_seeded_and_disjoint(reviews: Path) -> None:
    params = load_params(ROOT / "params.yaml")
    everything = deduplicate(read_reviews(reviews))
    parts = split(everything, params)
    train, validation = parts["train"], parts["validation"]
    assert sum(map(len, parts.values())) == len(everything)
    assert len(validation) == pytest.approx(0.2 * len(everything), abs=1)
    assert train["label"].mean() == pytest.approx(validation["label"].mean(), abs=0.001)
    assert len(parts["calibration"]) == pytest.approx(0.05 * 0.8 * len(everything), abs=1)
    assert parts["calibration"]["label"].mean() == pytest.approx(train["label"].mean(), abs=0.002)
    assert len({text.casefold() for part in parts.values() for text in part["text"]}) == len(everything)
    pd.testing.assert_frame_equal(train, split(everything, params)["train"])
    other = split(everything, params.model_copy(update={"seed": params.seed + 1}))["train"]
    assert set(other["review_id"]) != set(train["review_id"])


def test_the_calibration_fraction_does_not_change_the_validation_reviews(reviews: Path) -> None:
    """Otherwise models with different fractions could not be compared."""
    params = load_params(ROOT / "params.yaml")
    larger = params.prepare.model_copy(update={"calibration_fraction": 0.3})
    everything = read_reviews(reviews)
    one, other = split(everything, params), split(everything, params.model_copy(update={"prepare": larger}))
    pd.testing.assert_frame_equal(one["validation"], other["validation"])
    assert len(other["train"]) < len(one["train"])


def test_too_few_reviews_are_an_error_that_names_the_setting() -> None:
    params = load_params(ROOT / "params.yaml")
    few = table(*((f"Fine {number}.", number % 2) for number in range(10)))
    with pytest.raises(
        PipelineError, match=r"8 reviews cannot be split by 0\.05: .*raise prepare\.calibration"
    ):
        split(few, params)


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
