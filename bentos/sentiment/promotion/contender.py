"""A version and what its run found out about it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bentos.sentiment import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True, slots=True)
class Contender:
    """`version` with the metrics and tags of its run; they are empty where the run is gone."""

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
        """None where the run has none, or no finite one."""
        value = self.metrics.get(name, math.nan)
        return value if math.isfinite(value) else None


def contender(client: "MlflowClient", version: "ModelVersion") -> Contender:
    """Raises MlflowException when MLflow does not answer."""
    try:
        data = client.get_run(version.run_id).data if version.run_id else None
    except Exception as error:
        if not registry.is_absent(error):
            raise
        data = None
    return Contender(version, data.metrics if data else {}, data.tags if data else {})


def accuracy(version: "ModelVersion") -> float | None:
    """The share of validation reviews labelled right, 0 to 1, or None where the tag does not say."""
    try:
        value = float(version.tags["accuracy"])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None
