"""A registered version with the metrics and verdicts of its evaluation."""

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
    """A candidate or champion with what `evaluate` logged, both empty if it was deleted."""

    version: "ModelVersion"
    metrics: Mapping[str, float]
    verdicts: Mapping[str, str]

    @property
    def number(self) -> str:
        return str(self.version.version)

    @property
    def accuracy(self) -> float | None:
        return accuracy(self.version)

    def metric(self, name: str) -> float | None:
        """Return a metric, or None if it is missing or not finite."""
        value = self.metrics.get(name, math.nan)
        return value if math.isfinite(value) else None


def evaluated(client: "MlflowClient", version: "ModelVersion") -> EvaluatedVersion:
    """Read what was measured on the version's own model, or on its run if it does not name a model.

    A run may export again, and its metrics are then those of the newer model. Raises MlflowException if
    MLflow does not answer.
    """
    try:
        # `register` tags the version with the id of its model.
        if model_id := version.tags.get("model_id"):
            model = client.get_logged_model(model_id)
            logged = sorted(model.metrics or [], key=lambda metric: (metric.timestamp, metric.step))
            return EvaluatedVersion(version, {one.key: one.value for one in logged}, model.tags or {})
        if version.run_id:
            data = client.get_run(version.run_id).data
            return EvaluatedVersion(version, data.metrics, data.tags)
    except Exception as error:
        if not registry.is_absent(error):
            raise
    return EvaluatedVersion(version, {}, {})


def accuracy(version: "ModelVersion") -> float | None:
    """Return the tag `accuracy`, 0 to 1, or None if it is missing or invalid."""
    try:
        value = float(version.tags["accuracy"])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None
