"""Stage `prepare`: data/reviews.csv, cleaned and distinct -> training, calibration, validation reviews."""

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from sklearn.model_selection import train_test_split

from pipelines.errors import PipelineError, run_stage
from pipelines.lineage import data_md5
from pipelines.params import Params, load_params

REVIEWS = Path("data/reviews.csv")
OUT = Path("results/prepare")

SCHEMA = pa.DataFrameSchema(
    {
        "review_id": pa.Column(str, unique=True),
        "movie_id": pa.Column(str, pa.Check.str_matches(r"^[A-Za-z0-9_-]{1,64}$")),
        "text": pa.Column(str, pa.Check.str_contains(r"\S")),
        "label": pa.Column(int, pa.Check.isin([0, 1])),
    },
    strict=True,
)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")


def read_reviews(path: Path) -> pd.DataFrame:
    """The reviews as a table that passed SCHEMA.

    Raises PipelineError naming the first rows and columns that did not.
    """
    if not path.exists():
        raise PipelineError(f"{path} is missing: run `make ingest` (or `python -m pipelines.ingest`)")
    table = pd.read_csv(path, dtype={"review_id": str, "movie_id": str, "text": str}, keep_default_na=False)
    try:
        return SCHEMA.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases.head(5)
        wrong = [f"{c.column}, row {c.index}: {c.failure_case!r} fails {c.check}" for c in cases.itertuples()]
        raise PipelineError(f"{path} breaks its schema: {'; '.join(wrong)}") from None


def clean(text: str) -> str:
    """One line of plain text: entities decoded, tags (`<br />`) and runs of white space made a space."""
    return " ".join(_TAG.sub(" ", html.unescape(text)).split())


def deduplicate(reviews: pd.DataFrame) -> pd.DataFrame:
    """Each text once, compared without case; a text that bears both labels is dropped altogether."""
    key = reviews["text"].str.casefold()
    agreed = reviews.groupby(key)["label"].transform("nunique") == 1
    return reviews[agreed & ~key.duplicated()]


def split(reviews: pd.DataFrame, params: Params) -> dict[str, pd.DataFrame]:
    """Rows for `train`, `calibration` and `validation`, the same share of each label, in the data's order.

    The calibration reviews are taken from what is left for training, so the validation reviews stay the
    same whatever their number.
    """
    fractions = params.prepare
    rest, validation = apart(reviews, fractions.validation_fraction, params.seed)
    train, calibration = apart(rest, fractions.calibration_fraction, params.seed)
    return {"train": train, "calibration": calibration, "validation": validation}


def apart(reviews: pd.DataFrame, fraction: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The reviews but for a fraction, and that fraction. Raises PipelineError when there are too few."""
    try:
        rest, taken = train_test_split(
            reviews, test_size=fraction, stratify=reviews["label"], random_state=seed
        )
    except ValueError as error:
        raise PipelineError(
            f"{len(reviews):,} reviews cannot be split by {fraction}: {error} Ingest more, or raise "
            "prepare.calibration_fraction or prepare.validation_fraction."
        ) from None
    return rest.sort_index(), taken.sort_index()


def write(parts: Mapping[str, pd.DataFrame]) -> None:
    """Each part in a file of its name."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        rows.to_csv(OUT / f"{name}.csv", index=False, lineterminator="\n")


def main() -> None:
    params = load_params()
    reviews = read_reviews(REVIEWS)
    cleaned = reviews.assign(text=reviews["text"].map(clean))
    distinct = deduplicate(cleaned[cleaned["text"] != ""])
    parts = split(distinct, params)
    write(parts)
    summary = {
        "data_md5": data_md5(),
        "reviews": len(reviews),
        "dropped": len(reviews) - len(distinct),
        **{name: len(rows) for name, rows in parts.items()},
        "positive_share": round(float(distinct["label"].mean()), 4),
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(", ".join(f"{name} {value}" for name, value in summary.items()))


if __name__ == "__main__":
    run_stage(main)
