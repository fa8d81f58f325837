"""MLflow runs like those of the pipeline, without a training."""

import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Metric, Run, RunTag

from pipelines.register.candidates import LINEAGE, Candidate
from tests.pipelines.tiny_served_form import write_served_form

TAGS = {tag: tag for tag in LINEAGE} | {"git_dirty": "false", "behaviour": "passed"}
EQUAL = {"accuracy": 0.8, "log_loss": 0.5, "texts_per_second": 100.0}


def log(client: MlflowClient, tags: dict[str, str] | None = None, /, **metrics: float) -> Run:
    """Log a finished run with a model, like a run of the pipeline."""
    experiment = client.get_experiment_by_name("sentiment")
    assert experiment is not None
    run_id = client.create_run(experiment.experiment_id).info.run_id
    all_tags = TAGS | (tags or {})
    client.log_batch(run_id, tags=[RunTag(*tag) for tag in all_tags.items()])
    export(client, client.get_run(run_id), all_tags, EQUAL | metrics)
    client.set_terminated(run_id)
    return client.get_run(run_id)


def export(
    client: MlflowClient, run: Run, tags: Mapping[str, str], metrics: Mapping[str, float]
) -> LoggedModel:
    """Log another model of the run, with these metrics."""
    model = client.create_logged_model(
        run.info.experiment_id, name="sentiment", source_run_id=run.info.run_id, tags=dict(tags)
    )
    with TemporaryDirectory() as folder:
        write_served_form(Path(folder, "serving"))
        client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, "READY")
    if metrics:
        measure(client, model, metrics)
    return model


def models(client: MlflowClient, run: Run) -> list[Candidate]:
    """Return the models of the run, oldest first."""
    found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return [Candidate(run, model) for model in sorted(found, key=lambda one: one.creation_timestamp)]


def measure(client: MlflowClient, model: LoggedModel, metrics: Mapping[str, float], time: int = 0) -> None:
    """Log metrics to the model and its run, as `evaluate` does."""
    logged = [
        Metric(name, value, time, 0, model_id=None if math.isnan(value) else model.model_id)
        for name, value in metrics.items()
    ]
    client.log_batch(str(model.source_run_id), metrics=logged)
