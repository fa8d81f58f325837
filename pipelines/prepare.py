"""Stage `prepare`: data/reviews.csv -> cleaned, deduplicated, stratified train and validation reviews."""

import html
import json
import re
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


def split(reviews: pd.DataFrame, params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and validation rows, the same share of each label, in the order of the data."""
    train, validation = train_test_split(
        reviews,
        test_size=params.prepare.validation_fraction,
        stratify=reviews["label"],
        random_state=params.seed,
    )
    return train.sort_index(), validation.sort_index()


def main() -> None:
    params = load_params()
    reviews = read_reviews(REVIEWS)
    cleaned = reviews.assign(text=reviews["text"].map(clean))
    distinct = deduplicate(cleaned[cleaned["text"] != ""])
    train, validation = split(distinct, params)
    OUT.mkdir(parents=True, exist_ok=True)
    train.to_csv(OUT / "train.csv", index=False, lineterminator="\n")
    validation.to_csv(OUT / "validation.csv", index=False, lineterminator="\n")
    summary = {
        "data_md5": data_md5(),
        "reviews": len(reviews),
        "dropped": len(reviews) - len(distinct),
        "train": len(train),
        "validation": len(validation),
        "positive_share": round(float(distinct["label"].mean()), 4),
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(", ".join(f"{name} {value}" for name, value in summary.items()))


if __name__ == "__main__":
    run_stage(main)
