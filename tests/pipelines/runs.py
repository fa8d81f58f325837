"""MLflow runs like those of the pipeline, without a training, and functions for concurrent processes."""

import os
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

import mlflow
import optuna
from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag

from pipelines.core.mlflow_store import connect
from pipelines.experiments.optuna_storage import open_storage
from pipelines.register.candidates import LINEAGE
from pipelines.register.registry import register

TIMEOUT_SECONDS = 600
TAGS = {tag: tag for tag in LINEAGE} | {"git_dirty": "false", "behaviour": "passed"}
EQUAL = {"accuracy": 0.8, "log_loss": 0.5, "texts_per_second": 100.0}


def log(client: MlflowClient, tags: dict[str, str] | None = None, /, **metrics: float) -> Run:
    """Log a finished run with a model, like a run of the pipeline."""
    experiment = client.get_experiment_by_name("sentiment")
    assert experiment is not None
    run_id = client.create_run(experiment.experiment_id).info.run_id
    model = client.create_logged_model(experiment.experiment_id, name="sentiment", source_run_id=run_id)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, 0, 0) for name, value in (EQUAL | metrics).items()],
        tags=[RunTag(*tag) for tag in (TAGS | (tags or {})).items()],
    )
    client.set_terminated(run_id)
    return client.get_run(run_id)


def register_concurrently(uri: str, accuracy: float | None, run_id: str, barrier: Barrier) -> None:
    """Log a run with this accuracy, or if None take the run `run_id`; then register."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    barrier.wait(TIMEOUT_SECONDS)
    if accuracy is not None:
        run = log(client, accuracy=accuracy)
    register(client, run, refuse_dirty=False)


def open_store(folder: str, barrier: Barrier, sender: Connection) -> None:
    """Open the default store of the project in `folder` and send the names of its experiments."""
    os.chdir(folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    barrier.wait(TIMEOUT_SECONDS)
    sender.send([experiment.name for experiment in connect().search_experiments()])


def run_waiting_trials(url: str, barrier: Barrier, sender: Connection) -> None:
    """Run trials of the study `s` until none is waiting, and send the param of each."""
    study = optuna.load_study(storage=open_storage(url), study_name="s")
    values = []
    barrier.wait(TIMEOUT_SECONDS)
    while any(trial.state.name == "WAITING" for trial in study.get_trials(deepcopy=False)):
        trial = study.ask()
        values.append(trial.suggest_int("x", 0, 10**9))
        study.tell(trial, 0.0)
    sender.send(values)
