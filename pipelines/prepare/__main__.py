"""Stage `prepare`: clean, deduplicate and split data/reviews.csv: training, calibration, validation, test."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipelines.core.errors import run_stage
from pipelines.core.params import load_params
from pipelines.lineage.tags import data_md5
from pipelines.normalization.tokenizer import clean
from pipelines.prepare.cleaning import deduplicate, read_reviews
from pipelines.prepare.data_report import inspect, page
from pipelines.prepare.splitting import split, summary

REVIEWS = Path("data/reviews.csv")
OUT = Path("results/prepare")


def write(parts: Mapping[str, pd.DataFrame]) -> None:
    """Write each part to a CSV file named after it."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        rows.drop(columns="split").to_csv(OUT / f"{name}.csv", index=False, lineterminator="\n")


def main() -> None:
    params = load_params()
    reviews = read_reviews(REVIEWS)
    cleaned = reviews.assign(text=reviews["text"].map(clean))
    distinct = deduplicate(cleaned[cleaned["text"] != ""])
    parts = split(distinct, params.prepare)
    described = summary(parts)
    write(parts)
    inspected = inspect(parts, params.prepare.seed)
    md5 = data_md5()
    title = f"data/reviews.csv, md5 of data/ {md5}"
    (OUT / "data_report.html").write_text(page(parts, described, inspected, title), encoding="utf-8")
    found = {
        "data_md5": md5,
        "reviews": len(reviews),
        "dropped": len(reviews) - len(distinct),
        "positive_share": round(float(distinct["label"].mean()), 4),
        **inspected.figures,
        "parts": described,
    }
    (OUT / "summary.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{len(reviews):,} reviews, {found['dropped']:,} dropped as duplicates or contradictions")
    print(", ".join(f"{name} {value:,}" for name, value in inspected.figures.items()))
    print(pd.DataFrame(described).T.convert_dtypes().to_string())


if __name__ == "__main__":
    run_stage(main)
