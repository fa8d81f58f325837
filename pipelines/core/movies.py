"""The movies of reviews, as the groups that a split keeps together and a bootstrap draws together."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipelines.core.reviews import UNKNOWN_MOVIE

Codes = npt.NDArray[np.int64]


def movie_codes(movie_ids: Iterable[str]) -> Codes:
    """Return a number per review, from 0, that is equal for reviews of the same movie.

    A review of an unknown movie has a number of its own.
    """
    ids = np.array(list(movie_ids), dtype=str)
    _, codes = np.unique(ids, return_inverse=True)
    unknown = ids == UNKNOWN_MOVIE
    codes[unknown] = codes.max(initial=0) + 1 + np.arange(unknown.sum())
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)
