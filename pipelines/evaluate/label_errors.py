"""Reviews to look at: answers that are most wrong, and labels that are most likely so."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from cleanlab.filter import find_label_issues

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]

MOST = 50


def worst_errors(reviews: pd.DataFrame, positive: Array) -> pd.DataFrame:
    """At most 50 reviews answered wrongly, with `positive` and `loss` (-ln of the label's probability)."""
    right = np.where(reviews["label"] == 1, positive, 1 - positive)
    scored = reviews.assign(positive=positive, loss=-np.log(np.clip(right, 1e-15, 1)))
    wrong = scored[(positive >= 0.5) != (reviews["label"] == 1)]
    worst: pd.DataFrame = wrong.sort_values("loss", ascending=False, kind="stable").head(MOST)
    return worst


def likely_label_errors(reviews: pd.DataFrame, positive: Array) -> tuple[pd.DataFrame, int]:
    """At most 50 reviews whose label confident learning doubts, the likeliest first, and how many there are.

    The model has not been trained on these reviews, as it must not have (Northcutt et al. 2021).
    """
    both = np.column_stack([1 - positive, positive])
    rows = find_label_issues(
        reviews["label"].to_numpy(), both, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return reviews.assign(positive=positive).iloc[rows[:MOST]], len(rows)
