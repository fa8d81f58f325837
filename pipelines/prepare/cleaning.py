"""Schema validation and deduplication of data/reviews.csv."""

from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from pipelines.core.errors import PipelineError
from pipelines.core.reviews import TEST

SCHEMA = pa.DataFrameSchema(
    {
        "review_id": pa.Column(str, unique=True),
        "movie_id": pa.Column(str, pa.Check.str_matches(r"^[A-Za-z0-9_-]{1,64}$")),
        "text": pa.Column(str, pa.Check.str_contains(r"\S")),
        "label": pa.Column(int, pa.Check.isin([0, 1])),
        "split": pa.Column(str, pa.Check.isin(["", TEST]), default=""),
    },
    strict=True,
    add_missing_columns=True,
)


def read_reviews(path: Path) -> pd.DataFrame:
    """Read the reviews and validate them against SCHEMA.

    Raises PipelineError naming the first invalid rows and columns.
    """
    if not path.exists():
        raise PipelineError(f"{path} is missing: run `make ingest` (or `python -m pipelines.ingest`)")
    table = pd.read_csv(
        path, dtype={name: str for name in SCHEMA.columns if name != "label"}, keep_default_na=False
    )
    try:
        return SCHEMA.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases.head(5)
        wrong = [f"{c.column}, row {c.index}: {c.failure_case!r} fails {c.check}" for c in cases.itertuples()]
        raise PipelineError(f"{path} does not match its schema: {'; '.join(wrong)}") from None


def deduplicate(reviews: pd.DataFrame) -> pd.DataFrame:
    """Keep one review per text, ignoring case; drop texts that occur with both labels."""
    key = reviews["text"].str.casefold()
    consistent = reviews.groupby(key)["label"].transform("nunique") == 1
    return reviews[consistent & ~key.duplicated()]
