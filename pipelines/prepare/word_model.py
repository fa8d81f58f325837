"""A model that counts words: what it doubts in the labels, and the accuracy that a better model must beat."""

from typing import NamedTuple

import pandas as pd
from cleanlab.filter import find_label_issues
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from pipelines.core.movies import movie_codes

FOLDS = 5
MOST_FEATURES = 200_000


class Findings(NamedTuple):
    """The model's accuracy on the validation reviews, and the rows of `train` with doubtful labels."""

    accuracy: float
    doubted: list[int]


def examine(train: pd.DataFrame, validation: pd.DataFrame, seed: int) -> Findings:
    """Fit a logistic regression on the words and word pairs of the training reviews.

    A label is doubted by confident learning (Northcutt et al., 2021) from probabilities that were
    cross-validated by movie; the least likely labels come first.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_FEATURES)
    features = words.fit_transform(train["text"])
    model = LogisticRegression(C=4, solver="liblinear")  # fast on sparse features, and starts no threads
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    movies = movie_codes(train["movie_id"])
    probabilities = cross_val_predict(
        model, features, train["label"], groups=movies, cv=folds, method="predict_proba"
    )
    doubted = find_label_issues(
        train["label"].to_numpy(), probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    model.fit(features, train["label"])
    predicted = model.predict(words.transform(validation["text"]))
    return Findings(float((predicted == validation["label"]).mean()), [int(row) for row in doubted])
