"""The model that is served now, beside the new one: better is said with how sure that is."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import mlflow
import numpy as np
import numpy.typing as npt
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from scipy.stats import binomtest

from pipelines.served_form.classifier import Classifier
from pipelines.statistics.intervals import Counts, Interval, bootstrap

MODEL = "sentiment"
ALIAS = "champion"
SURE = 0.05
"""A difference that chance would make less often is called one."""

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


class Comparison(NamedTuple):
    """The new model against the champion on the same reviews; the difference is of their accuracies."""

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
    """The version that is champion, if one is."""
    try:
        return client.get_model_version_by_alias(MODEL, ALIAS)
    except MlflowException as error:
        # A registered model that is missing is the one; an alias that is missing is, to MLflow, the other.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def answers(champion: ModelVersion, texts: Sequence[str]) -> Array | str:
    """The probability that each text is positive, as the champion sees it; or why it cannot be asked."""
    with TemporaryDirectory() as aside:
        uri = f"models:/{MODEL}/{champion.version}/serving"
        try:
            folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=aside)
            return Classifier(Path(folder)).probabilities(texts)
        except (MlflowException, OSError, RuntimeError, json.JSONDecodeError, KeyError) as error:
            # A champion that is damaged must not keep its successor from being evaluated.
            return f"its files cannot be used: {next(iter(str(error).splitlines()), type(error).__name__)}"


def compare(
    labels: Labels, new: Array, old: Array, champion: ModelVersion, tags: Mapping[str, str], seed: int
) -> Comparison:
    """McNemar's exact test, and a paired bootstrap of the difference. `tags` are those of the new run."""
    new_right, old_right = (((answer >= 0.5) == (labels == 1)).astype(int) for answer in (new, old))
    gained = new_right - old_right

    def drawn(counts: Counts) -> dict[str, Array]:
        return {"difference": counts @ gained / counts.sum(axis=1)}

    only_new, only_old = int((gained > 0).sum()), int((gained < 0).sum())
    return Comparison(
        champion.version,
        Interval(float(gained.mean()), *bootstrap(drawn, len(labels), seed)["difference"]),
        float(binomtest(only_new, only_new + only_old).pvalue) if only_new + only_old else 1.0,
        only_new,
        only_old,
        caveat(champion.tags, tags),
    )


def caveat(champion: Mapping[str, str], new: Mapping[str, str]) -> str:
    """What is unfair in the comparison, or nothing."""
    if champion.get("split_sha256") == new["split_sha256"]:
        return ""
    data = "other data" if champion.get("data_md5") != new["data_md5"] else "another split of these data"
    return (
        f"The champion was trained on {data}: it may know some of these reviews, "
        "so the comparison flatters it."
    )


def in_words(found: Comparison) -> str:
    """The difference in points of accuracy, its interval and p; or that none can be told."""
    low, high = (100 * end for end in found.difference[1:])
    points = 100 * found.difference.value
    sure = f"95 % interval {low:+.1f} to {high:+.1f}, p={found.p:.2g}"
    against = f"champion, version {found.version}"
    if not found.only_new_right and not found.only_champion_right:
        return f"the same answers, right and wrong, as the {against}"
    if found.p >= SURE:
        return f"no difference to the {against}, can be told ({points:+.1f} points, {sure})"
    return f"{'better' if points > 0 else 'worse'} than the {against}, by {abs(points):.1f} points ({sure})"
