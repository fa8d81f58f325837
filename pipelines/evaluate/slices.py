"""Accuracy on slices of the reviews, which shows weaknesses that the overall accuracy hides."""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines.core.movies import movie_codes
from pipelines.core.reviews import UNKNOWN_MOVIE
from pipelines.served_form.known_words import LITTLE
from pipelines.statistics.intervals import LEVEL, proportion

Right = npt.NDArray[np.bool_]

COLUMNS = ["slice", "value", "count", "accuracy", "low", "high"]
LENGTH_BINS = 5
LEAST_REVIEWS = 10
"""Minimum number of a movie's reviews; with fewer, the interval is too wide to be useful."""
MOST_MOVIES = 10

KNOWN_ENDS = [0, LITTLE, 0.75, 0.9, np.inf]
KNOWN_NAMES = ["under 50 %", "50 to 75 %", "75 to 90 %", "90 to 100 %"]
"""Slices by the share of a review's words that occur in the training reviews."""

_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nor|neither|nobody|nothing|nowhere|without|hardly|barely|scarcely|cannot)\b"
    r"|n['\u2019]t\b",
    re.IGNORECASE,
)
_STARS = re.compile(r"_(10|[1-9])$")
_EXTREMITY = {5: "1 or 10 stars", 4: "2 or 9 stars", 3: "3 or 8 stars", 2: "4 or 7 stars", 1: "5 or 6 stars"}


def slices(reviews: pd.DataFrame, right: Right) -> tuple[pd.DataFrame, list[str]]:
    """Return a table of COLUMNS with intervals, and the reasons for missing slices.

    `reviews` has review_id, movie_id, text, label and known_share; `right` is whether each prediction is
    correct. The intervals are simultaneous (Bonferroni): with a probability of 95 %, all slices of a kind lie
    in theirs. Movies are one kind, the other slices another.
    """
    kinds = {
        "label": reviews["label"].map({0: "negative", 1: "positive"}),
        "length": lengths(reviews["text"]),
        "negation": reviews["text"].map(lambda text: "with" if _NEGATION.search(text) else "without"),
        "rating": stars(reviews["review_id"]),
        "known words": pd.cut(reviews["known_share"], KNOWN_ENDS, right=False, labels=KNOWN_NAMES),
    }
    codes = reviews.assign(code=movie_codes(reviews["movie_id"]))["code"]
    level = simultaneous(sum(values.nunique() for values in kinds.values()))
    rows = [row for name, values in kinds.items() for row in by_value(name, values, right, codes, level)]
    movies, missing = by_movie(reviews["movie_id"], right, codes)
    if not kinds["rating"].notna().any():
        missing.append("rating: these reviews have none (review ids of the IMDB archive end in _STARS)")
    return pd.DataFrame([*rows, *movies], columns=COLUMNS), missing


def lengths(texts: pd.Series) -> pd.Series:
    """Return each text's quintile by number of words, such as `13 to 17 words`, as ordered categories."""
    words = texts.map(lambda text: len(text.split()))
    fifths = pd.qcut(words, LENGTH_BINS, duplicates="drop")
    ends = words.groupby(fifths, observed=True).agg(["min", "max"])
    names = {fifth: f"{low} to {high} words" for fifth, low, high in ends.itertuples()}
    return fifths.cat.rename_categories(names)


def stars(review_ids: pd.Series) -> pd.Series:
    """Return how extreme the rating at the end of each review id is; missing for ids without one."""
    rating = pd.to_numeric(review_ids.str.extract(_STARS, expand=False))
    distance = (rating - 5.5).abs() + 0.5
    return distance.map(_EXTREMITY).astype(pd.CategoricalDtype([*_EXTREMITY.values()]))


def simultaneous(count: int) -> float:
    """Return the level of each of `count` intervals that hold together with probability LEVEL."""
    return 1 - (1 - LEVEL) / max(count, 1)


def by_value(
    name: str, values: pd.Series, right: Right, codes: pd.Series, level: float
) -> Iterator[tuple[object, ...]]:
    """Yield a row for each value; `codes` numbers the movies of the reviews."""
    for value, group in pd.Series(right, index=values.index).groupby(values, observed=True):
        movies = codes[group.index].to_numpy()
        yield (name, str(value), len(group), *proportion(group.to_numpy(), movies, level))


def by_movie(movies: pd.Series, right: Right, codes: pd.Series) -> tuple[list[tuple[object, ...]], list[str]]:
    """Return rows for the movies with the most reviews and for the worst, by upper interval end."""
    counts = movies[movies != UNKNOWN_MOVIE].value_counts()
    enough = counts[counts >= LEAST_REVIEWS].index
    if enough.empty:
        return [], [f"movie: no known movie has {LEAST_REVIEWS} validation reviews"]
    known = movies.isin(enough)
    level = simultaneous(len(enough))
    rows = pd.DataFrame(by_value("movie", movies[known], right[known], codes, level), columns=COLUMNS)
    frequent = rows.nlargest(MOST_MOVIES, "count", keep="first").assign(slice="frequent movie")
    worst = rows.nsmallest(MOST_MOVIES, "high", keep="first").assign(slice="worst movie")
    return [tuple(row) for row in pd.concat([frequent, worst]).itertuples(index=False)], []
