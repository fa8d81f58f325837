"""Runs in a real MLflow store as the pipeline leaves them, without the training."""

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

PATIENCE = 600  # seconds; a limit for what hangs
TAGS = {tag: tag for tag in LINEAGE} | {"git_dirty": "false", "behaviour": "passed"}
EQUAL = {"accuracy": 0.8, "log_loss": 0.5, "texts_per_second": 100.0}


def log(client: MlflowClient, tags: dict[str, str] | None = None, /, **metrics: float) -> Run:
    """A finished run with a model, as the pipeline leaves one."""
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


def racing(uri: str, accuracy: float | None, run_id: str, together: Barrier) -> None:
    """What one of several processes does: finish a run of its own (or not), and register."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    like = client.get_run(run_id)
    together.wait(PATIENCE)
    if accuracy is not None:
        like = log(client, accuracy=accuracy)
    register(client, like, refuse_dirty=False)


def beginning(folder: str, together: Barrier, said: Connection) -> None:
    """Open the default store of the project in `folder` and send the name of its experiment."""
    os.chdir(folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    together.wait(PATIENCE)
    said.send([experiment.name for experiment in connect().search_experiments()])


def claiming(url: str, together: Barrier, said: Connection) -> None:
    """Run the trials of the study `s` until none waits; send what each was given."""
    study = optuna.load_study(storage=open_storage(url), study_name="s")
    claimed = []
    together.wait(PATIENCE)
    while any(trial.state.name == "WAITING" for trial in study.get_trials(deepcopy=False)):
        trial = study.ask()
        claimed.append(trial.suggest_int("x", 0, 10**9))
        study.tell(trial, 0.0)
    said.send(claimed)
