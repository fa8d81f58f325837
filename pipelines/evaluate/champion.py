"""Comparison of the new model with the current champion, with a significance test."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from scipy.stats import binomtest

from pipelines.core.movies import movie_codes
from pipelines.served_form.classifier import Classifier
from pipelines.statistics.intervals import Interval, mean_difference

MODEL = "sentiment"
ALIAS = "champion"
SIGNIFICANCE = 0.05
"""Differences with a smaller p-value count as significant."""

Array = npt.NDArray[np.float64]


class Comparison(NamedTuple):
    """The new model against the champion on the same reviews; `difference` is in accuracy."""

    version: str
    difference: Interval
    p: float
    only_new_right: int
    only_champion_right: int
    caveat: str

    @property
    def metrics(self) -> dict[str, float]:
        return {
            "champion_difference": self.difference.value,
            "champion_difference_low": self.difference.low,
            "champion_difference_high": self.difference.high,
            "mcnemar_p": self.p,
        }


def current(client: mlflow.MlflowClient) -> ModelVersion | None:
    """Return the champion's version, or None if there is no champion."""
    try:
        return client.get_model_version_by_alias(MODEL, ALIAS)
    except MlflowException as error:
        # MLflow's codes for a missing registered model and for a missing alias.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def answers(champion: ModelVersion, texts: Sequence[str]) -> Array | str:
    """Return the champion's probabilities of being positive, [texts], or why it cannot be loaded."""
    with TemporaryDirectory() as scratch:
        uri = f"models:/{MODEL}/{champion.version}/serving"
        try:
            folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch)
            return Classifier(Path(folder)).probabilities(texts)
        except (MlflowException, OSError, RuntimeError, json.JSONDecodeError, KeyError) as error:
            # A damaged champion must not prevent the evaluation of its successor.
            return f"its files cannot be used: {next(iter(str(error).splitlines()), type(error).__name__)}"


def compare(
    reviews: pd.DataFrame, new: Array, old: Array, champion: ModelVersion, tags: Mapping[str, str], seed: int
) -> Comparison:
    """Run McNemar's exact test and a paired bootstrap of the difference, which resamples movies.

    `new` and `old` are the probabilities of being positive, [reviews]; `tags` are the new run's.
    """
    labels, movies = reviews["label"].to_numpy(), movie_codes(reviews["movie_id"])
    new_right, old_right = (((answer >= 0.5) == (labels == 1)).astype(int) for answer in (new, old))
    gained = new_right - old_right
    only_new, only_old = int((gained > 0).sum()), int((gained < 0).sum())
    return Comparison(
        champion.version,
        mean_difference(gained[np.newaxis].astype(float), movies, seed),
        float(binomtest(only_new, only_new + only_old).pvalue) if only_new + only_old else 1.0,
        only_new,
        only_old,
        caveat(champion.tags, tags),
    )


def caveat(champion: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Return why the comparison may be biased, or an empty string."""
    if champion.get("split_sha256") == new["split_sha256"]:
        return ""
    data = "other data" if champion.get("data_md5") != new["data_md5"] else "another split of these data"
    return (
        f"The champion was trained on {data}: it may have seen some of these reviews, "
        "so the comparison may favour it."
    )


def in_words(found: Comparison) -> str:
    """Describe the difference in accuracy with its interval and p, or say that it is not significant."""
    low, high = (100 * end for end in found.difference[1:])
    points = 100 * found.difference.value
    evidence = f"95 % interval {low:+.1f} to {high:+.1f}, p={found.p:.2g}"
    against = f"champion, version {found.version}"
    if not found.only_new_right and not found.only_champion_right:
        return f"correct on exactly the same reviews as the {against}"
    if found.p >= SIGNIFICANCE:
        return f"not significantly different from the {against} ({points:+.1f} points, {evidence})"
    direction = "better" if points > 0 else "worse"
    return f"{direction} than the {against}, by {abs(points):.1f} points ({evidence})"
