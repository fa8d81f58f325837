"""Reviews worth inspecting: the worst errors and the most likely label errors."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from cleanlab.filter import find_label_issues

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]

MOST = 50


def worst_errors(reviews: pd.DataFrame, positive: Array) -> pd.DataFrame:
    """Return the 50 errors with the highest loss (-ln of the label's probability), with `positive`."""
    of_label = np.where(reviews["label"] == 1, positive, 1 - positive)
    scored = reviews.assign(positive=positive, loss=-np.log(np.clip(of_label, 1e-15, 1)))
    wrong = scored[(positive >= 0.5) != (reviews["label"] == 1)]
    worst: pd.DataFrame = wrong.sort_values("loss", ascending=False, kind="stable").head(MOST)
    return worst


def likely_label_errors(reviews: pd.DataFrame, positive: Array) -> tuple[pd.DataFrame, int]:
    """Return the 50 likeliest label errors found by confident learning, and the number of all found.

    The model must not have been trained on these reviews (Northcutt et al., 2021).
    """
    both = np.column_stack([1 - positive, positive])
    rows = find_label_issues(
        reviews["label"].to_numpy(), both, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return reviews.assign(positive=positive).iloc[rows[:MOST]], len(rows)
