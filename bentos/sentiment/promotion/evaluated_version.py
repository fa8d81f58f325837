"""A registered version with the metrics and tags of its run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bentos.sentiment import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True, slots=True)
class EvaluatedVersion:
    """A candidate or champion with the metrics and tags of its run, both empty if the run was deleted."""

    version: "ModelVersion"
    metrics: Mapping[str, float]
    run_tags: Mapping[str, str]

    @property
    def number(self) -> str:
        return str(self.version.version)

    @property
    def accuracy(self) -> float | None:
        return accuracy(self.version)

    def metric(self, name: str) -> float | None:
        """Return a metric of the run, or None if it is missing or not finite."""
        value = self.metrics.get(name, math.nan)
        return value if math.isfinite(value) else None


def evaluated(client: "MlflowClient", version: "ModelVersion") -> EvaluatedVersion:
    """Read the run of a version. Raises MlflowException if MLflow does not answer."""
    try:
        data = client.get_run(version.run_id).data if version.run_id else None
    except Exception as error:
        if not registry.is_absent(error):
            raise
        data = None
    return EvaluatedVersion(version, data.metrics if data else {}, data.tags if data else {})


def accuracy(version: "ModelVersion") -> float | None:
    """Return the tag `accuracy`, 0 to 1, or None if it is missing or invalid."""
    try:
        value = float(version.tags["accuracy"])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None
