"""A labelled review, what is refused instead of one, and the form in which both are kept."""

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


class Refused(NamedTuple):
    """One row of the quarantine: where it was found, why it is no labelled review, and how it begins."""

    found_at: str
    reason: str
    text: str


def checked(review_id: str, movie_id: str, text: str, label: str) -> LabelledReview | Refused:
    """A review of what a source says, its label in words or as a number."""
    known = LABELS.get(label.strip().lower())
    if not text.strip():
        return Refused(review_id, "the text is empty", text)
    if known is None:
        return Refused(review_id, f"the label {label!r} is none of {', '.join(LABELS)}", text)
    return LabelledReview(review_id, slug(movie_id) or UNKNOWN_MOVIE, text, known)


def slug(name: str) -> str:
    """A movie's id as the API takes it: letters, digits, `_` and `-`, at most 64."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", html.unescape(name)).strip("-")[:64]
