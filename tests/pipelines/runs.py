"""MLflow runs like those of the pipeline, without a training."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag

from pipelines.register.candidates import LINEAGE
from tests.pipelines.tiny_served_form import write_served_form

TAGS = {tag: tag for tag in LINEAGE} | {"git_dirty": "false", "behaviour": "passed"}
EQUAL = {"accuracy": 0.8, "log_loss": 0.5, "texts_per_second": 100.0}


def log(client: MlflowClient, tags: dict[str, str] | None = None, /, **metrics: float) -> Run:
    """Log a finished run with a model, like a run of the pipeline."""
    experiment = client.get_experiment_by_name("sentiment")
    assert experiment is not None
    run_id = client.create_run(experiment.experiment_id).info.run_id
    model = client.create_logged_model(experiment.experiment_id, name="sentiment", source_run_id=run_id)
    with TemporaryDirectory() as folder:
        write_served_form(Path(folder, "serving"))
        client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, 0, 0) for name, value in (EQUAL | metrics).items()],
        tags=[RunTag(*tag) for tag in (TAGS | (tags or {})).items()],
    )
    client.set_terminated(run_id)
    return client.get_run(run_id)
