"""Accuracy on kinds of reviews: a good mean may hide what the model is bad at."""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines.core.reviews import UNKNOWN_MOVIE
from pipelines.statistics.intervals import wilson

Right = npt.NDArray[np.bool_]

COLUMNS = ["slice", "value", "count", "accuracy", "low", "high"]
LENGTH_BINS = 5
LEAST_REVIEWS = 10
"""Of a movie; the interval of fewer says nothing."""
MOST_MOVIES = 10

_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nor|neither|nobody|nothing|nowhere|without|hardly|barely|scarcely|cannot)\b"
    r"|n['\u2019]t\b",
    re.IGNORECASE,
)
_STARS = re.compile(r"_(10|[1-9])$")
_EXTREMITY = {5: "1 or 10 stars", 4: "2 or 9 stars", 3: "3 or 8 stars", 2: "4 or 7 stars", 1: "5 or 6 stars"}


def slices(reviews: pd.DataFrame, right: Right) -> tuple[pd.DataFrame, list[str]]:
    """Rows of COLUMNS with Wilson's intervals, and why a slice is missing.

    `reviews` has review_id, movie_id, text and label; `right` says of each whether it was answered rightly.
    """
    kinds = {
        "label": reviews["label"].map({0: "negative", 1: "positive"}),
        "length": lengths(reviews["text"]),
        "negation": reviews["text"].map(lambda text: "with" if _NEGATION.search(text) else "without"),
        "rating": stars(reviews["review_id"]),
    }
    rows = [row for name, values in kinds.items() for row in of(name, values, right)]
    movies, missing = of_movies(reviews["movie_id"], right)
    if not kinds["rating"].notna().any():
        missing.append("rating: these reviews carry none (ids of the IMDB archive end in _ and the stars)")
    return pd.DataFrame([*rows, *movies], columns=COLUMNS), missing


def lengths(texts: pd.Series) -> pd.Series:
    """Of each text the fifth it belongs to by its words, such as `13 to 17 words`; in order."""
    words = texts.map(lambda text: len(text.split()))
    fifths = pd.qcut(words, LENGTH_BINS, duplicates="drop")
    ends = words.groupby(fifths, observed=True).agg(["min", "max"])
    names = {fifth: f"{low} to {high} words" for fifth, low, high in ends.itertuples()}
    return fifths.cat.rename_categories(names)


def stars(review_ids: pd.Series) -> pd.Series:
    """How far from the middle the rating is that the review's id ends with; missing where it has none."""
    rating = pd.to_numeric(review_ids.str.extract(_STARS, expand=False))
    distance = (rating - 5.5).abs() + 0.5
    return distance.map(_EXTREMITY).astype(pd.CategoricalDtype([*_EXTREMITY.values()]))


def of(name: str, values: pd.Series, right: Right) -> Iterator[tuple[object, ...]]:
    """A row for each value."""
    for value, own in pd.Series(right, index=values.index).groupby(values, observed=True):
        yield (name, str(value), len(own), *wilson(int(own.sum()), len(own)))


def of_movies(movies: pd.Series, right: Right) -> tuple[list[tuple[object, ...]], list[str]]:
    """The movies of which most is known, and the worst: by the upper ends of their intervals."""
    counts = movies[movies != UNKNOWN_MOVIE].value_counts()
    enough = counts[counts >= LEAST_REVIEWS].index
    if enough.empty:
        return [], [f"movie: none is known to have {LEAST_REVIEWS} validation reviews"]
    known = movies.isin(enough)
    rows = pd.DataFrame(of("movie", movies[known], right[known]), columns=COLUMNS)
    frequent = rows.nlargest(MOST_MOVIES, "count", keep="first").assign(slice="frequent movie")
    worst = rows.nsmallest(MOST_MOVIES, "high", keep="first").assign(slice="worst movie")
    return [tuple(row) for row in pd.concat([frequent, worst]).itertuples(index=False)], []
