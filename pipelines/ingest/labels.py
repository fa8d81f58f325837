"""Labelled and rejected reviews, the meaning of labels, and the validation that decides between them."""

import html
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from pipelines.core.errors import PipelineError
from pipelines.core.reviews import TEST, UNKNOWN_MOVIE

POSITIVE = ("positive", "pos", "fresh", "true", "1")
NEGATIVE = ("negative", "neg", "rotten", "false", "0")
MAX_REFUSED = 0.01
"""The share of a source's rows that may be refused: beyond it, more is wrong than a few rows."""
_NAMED = 10  # labels that a message lists
_SHOWN = 40  # characters of a label, which may be a text if the column is the wrong one


class LabelledReview(NamedTuple):
    """One row of data/reviews.csv; label 1 is positive, 0 negative.

    `split` is TEST for a review of the source's official test half, else empty.
    """

    review_id: str
    movie_id: str
    text: str
    label: int
    split: str = ""


class Rejected(NamedTuple):
    """One row of the quarantine: its position in the source, the reason, and the start of the text."""

    found_at: str
    reason: str
    text: str


Row = LabelledReview | Rejected


class Labels:
    """What the labels of a source mean; it also counts how often each label was looked up."""

    def __init__(self, positive: Collection[str] = (), negative: Collection[str] = ()) -> None:
        """Take the labels that mean positive and negative: both, or neither for POSITIVE and NEGATIVE."""
        self._given = bool(positive or negative)
        self._numbers = {
            **dict.fromkeys(map(normalized, positive or POSITIVE), 1),
            **dict.fromkeys(map(normalized, negative or NEGATIVE), 0),
        }
        self._found: Counter[str] = Counter()

    def __str__(self) -> str:
        return ", ".join(self._numbers)

    def number(self, label: str) -> int | None:
        """Return 1 for a positive label, 0 for a negative one, and None for any other."""
        known = normalized(label)
        self._found[known] += 1
        return self._numbers.get(known)

    def checked(self, rows: Iterable[Row], max_refused: float) -> Iterator[Row]:
        """Yield the rows. Raises PipelineError at the end if their labels were no known binary set.

        They were none if the meaning of more than `max_refused` of them is unknown. Nor were 0 and 1 beside
        other numbers, unless their meaning was given: they may be stars, of which both are negative.
        """
        yield from rows
        unknown = self._found.keys() - self._numbers.keys()
        share = sum(self._found[label] for label in unknown) / max(self._found.total(), 1)
        is_scale = bool(self._found.keys() & {"0", "1"}) and any(map(is_number, unknown))
        if share > max_refused or (is_scale and not self._given):
            raise PipelineError(self._explain(unknown, share))

    def _explain(self, unknown: Collection[str], share: float) -> str:
        counts = [f"{label[:_SHOWN]!r} ({self._found[label]:,})" for label in sorted(self._found)]
        found = f"the labels found, with their rows, are {listed(counts)}"
        if self._given:
            left = listed([repr(label[:_SHOWN]) for label in sorted(unknown)])
            return (
                f"{found}; neither --positive nor --negative has {left}: add them, or leave their rows out"
                f" with --max-refused {enough(share)}. data/ is unchanged."
            )
        return (
            f"{found}, which is no binary set of known labels ({self}): say what they mean with --positive"
            " and --negative, such as `--positive 4,5 --negative 1,2`, or name the column that has labels"
            " with --label-column. data/ is unchanged."
        )


def normalized(label: str) -> str:
    """Return the label in the form in which labels are compared: `Positive ` is positive, 1.0 is 1."""
    label = label.strip().lower()
    return label.removesuffix(".0") if is_number(label) else label


def is_number(label: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", label) is not None


def listed(items: Sequence[str]) -> str:
    """Return the first items of a list in words, and how many more there are."""
    others = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {others:,} others" if others > 0 else "")


def enough(share: float) -> str:
    """Return a --max-refused, in whole percents, that admits this share."""
    return f"{math.ceil(share * 100) / 100:g}"


def validate(review_id: str, movie_id: str, text: str, label: str, labels: Labels, split: str = "") -> Row:
    """Return the review, or a rejection if its text is empty or its label is missing or unknown.

    `split` is the name that its source gives to its part; only TEST is kept.

    The lines of its text end in LF: csv writes a CR without quotes, and pandas reads it as the end of a row.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return Rejected(review_id, "the text is empty", text)
    if not label.strip():
        return Rejected(review_id, "the label is missing", text)
    number = labels.number(label)
    if number is None:
        return Rejected(review_id, f"the label {label[:_SHOWN]!r} is not one of {labels}", text)
    return LabelledReview(
        review_id, slug(movie_id) or UNKNOWN_MOVIE, text, number, TEST if split == TEST else ""
    )


def slug(name: str) -> str:
    """Return a movie id that the API accepts: at most 64 letters, digits, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", html.unescape(name)).strip("-")[:64]
