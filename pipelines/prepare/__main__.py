"""Stage `prepare`: clean, deduplicate and split data/reviews.csv for training, calibration and validation."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipelines.core.errors import run_stage
from pipelines.core.params import load_params
from pipelines.lineage.tags import data_md5
from pipelines.prepare.cleaning import clean, deduplicate, read_reviews
from pipelines.prepare.splitting import split

REVIEWS = Path("data/reviews.csv")
OUT = Path("results/prepare")


def write(parts: Mapping[str, pd.DataFrame]) -> None:
    """Write each part to a CSV file named after it."""
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
