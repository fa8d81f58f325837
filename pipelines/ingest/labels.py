"""Labelled and rejected reviews, and the validation that decides between them."""

import html
import re
from typing import NamedTuple

from pipelines.core.reviews import UNKNOWN_MOVIE

LABELS = {
    **dict.fromkeys(("positive", "pos", "fresh", "1", "1.0", "true"), 1),
    **dict.fromkeys(("negative", "neg", "rotten", "0", "0.0", "false"), 0),
}


class LabelledReview(NamedTuple):
    """One row of data/reviews.csv; label 1 is positive, 0 negative."""

    review_id: str
    movie_id: str
    text: str
    label: int


class Rejected(NamedTuple):
    """One row of the quarantine: its position in the source, the reason, and the start of the text."""

    found_at: str
    reason: str
    text: str


def validate(review_id: str, movie_id: str, text: str, label: str) -> LabelledReview | Rejected:
    """Return the review, or a rejection if its text is empty or its label is not in LABELS."""
    number = LABELS.get(label.strip().lower())
    if not text.strip():
        return Rejected(review_id, "the text is empty", text)
    if number is None:
        return Rejected(review_id, f"the label {label!r} is not one of {', '.join(LABELS)}", text)
    return LabelledReview(review_id, slug(movie_id) or UNKNOWN_MOVIE, text, number)


def slug(name: str) -> str:
    """Return a movie id that the API accepts: at most 64 letters, digits, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", html.unescape(name)).strip("-")[:64]
