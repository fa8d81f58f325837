"""The split into training, calibration, validation and test reviews: whole movies, stratified by label.

Reviews of one movie share its name, plot and reputation. A model that saw some of them in training looks
better on the others than on the next movie.
"""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from pipelines.core.errors import PipelineError
from pipelines.core.movies import movie_codes
from pipelines.core.params import PrepareParams
from pipelines.core.reviews import TEST, UNKNOWN_MOVIE

MAX_FOLDS = 100


def split(reviews: pd.DataFrame, params: PrepareParams) -> dict[str, pd.DataFrame]:
    """Return the parts `train`, `calibration`, `validation` and `test`, in the data's order.

    The source's official test reviews are the test part, if there are any. Otherwise it is split off first,
    then the validation and the calibration part, so that none depends on the fraction of a later one.
    Raises PipelineError if there are too few reviews or movies.
    """
    test = reviews[reviews["split"] == TEST]
    rest = reviews.drop(index=test.index)
    if test.empty:
        rest, test = hold_out(rest, "test_fraction", params)
    rest, validation = hold_out(rest, "validation_fraction", params)
    train, calibration = hold_out(rest, "calibration_fraction", params)
    return {"train": train, "calibration": calibration, "validation": validation, "test": test}


def hold_out(reviews: pd.DataFrame, name: str, params: PrepareParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the remaining and the held-out reviews; `name` is the param with the share to hold out.

    The movies are dealt to folds of similar size and share of positive reviews, some of which are then drawn.
    """
    fraction = getattr(params, name)
    drawn = Fraction(fraction).limit_denominator(MAX_FOLDS)
    folds, count = drawn.denominator, drawn.numerator
    movies = movie_codes(reviews["movie_id"])
    enough = min(reviews["label"].value_counts().min(), movies.max(initial=0) + 1) >= folds
    if not (enough and reviews["label"].nunique() == 2 and count):
        raise PipelineError(refusal(reviews, name, fraction))
    folding = StratifiedGroupKFold(folds, shuffle=True, random_state=params.seed)
    rows = [held for _, held in folding.split(reviews, reviews["label"], movies)]
    chosen = np.random.default_rng(params.seed).choice(folds, count, replace=False)
    held_out = reviews.iloc[np.sort(np.concatenate([rows[fold] for fold in chosen]))]
    rest = reviews.drop(index=held_out.index)
    if held_out["label"].nunique() < 2 or rest["label"].nunique() < 2:
        raise PipelineError(refusal(reviews, name, fraction))
    return rest, held_out


def refusal(reviews: pd.DataFrame, name: str, fraction: float) -> str:
    count = movie_codes(reviews["movie_id"]).max(initial=-1) + 1
    return (
        f"{len(reviews):,} reviews of {count:,} movies cannot be split by prepare.{name},"
        f" {fraction}, into whole movies with both labels in each part. Ingest more, change the fraction, or"
        " ingest without movies (no --movie-column) to split by review."
    )


def summary(parts: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """Return each part's reviews, movies, share of positive reviews, and movies that are in `train` too.

    Reviews whose movie is unknown count as no movie.
    """
    known = {name: set(part["movie_id"][part["movie_id"] != UNKNOWN_MOVIE]) for name, part in parts.items()}
    return {
        name: {
            "reviews": len(part),
            "movies": len(known[name]),
            "positive_share": round(float(part["label"].mean()), 4),
            "movies_in_train": len(known[name] & known["train"]) if name != "train" else 0,
        }
        for name, part in parts.items()
    }
