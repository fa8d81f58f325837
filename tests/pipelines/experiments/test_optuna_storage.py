"""Optuna's tables in MLflow's database, used by several processes at the same time."""

import shutil
import sqlite3
from pathlib import Path

import mlflow
import optuna
import pytest

from pipelines.core.errors import PipelineError
from pipelines.experiments.optuna_storage import open_storage, storage_url
from tests.pipelines.concurrency import run_concurrently, run_waiting_trials


@pytest.mark.process
def test_each_waiting_trial_is_run_once_and_mlflows_tables_are_unchanged(
    tmp_path: Path, empty_store: Path
) -> None:
    file = Path(shutil.copy(empty_store, tmp_path))
    url = f"sqlite:///{file}"
    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient()
    client.create_experiment("sentiment")
    before = revision(file)
    study = optuna.create_study(storage=open_storage(url), study_name="s")
    for number in range(12):
        study.enqueue_trial({"x": number})
    values = [value for sent in run_concurrently(run_waiting_trials, *[(url,)] * 3) for value in sent]
    # A process that asks when no trial is waiting gets a random value, at most once.
    assert sorted(x for x in values if x < 12) == list(range(12))
    numbers = [trial.number for trial in study.get_trials()]
    assert numbers == list(range(len(numbers)))
    assert revision(file) == before
    assert client.get_experiment_by_name("sentiment") is not None


def revision(file: Path) -> list[tuple[str]]:
    """Return the revision of MLflow's schema."""
    with sqlite3.connect(file) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


def test_with_an_mlflow_server_the_database_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWEEP_DATABASE", raising=False)
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(PipelineError, match="set SWEEP_DATABASE"):
        storage_url()
    monkeypatch.setenv("SWEEP_DATABASE", "postgresql+psycopg://127.0.0.1/mlflow")
    assert storage_url() == "postgresql+psycopg://127.0.0.1/mlflow"


@pytest.mark.parametrize("url", ["nonsense://x", "postgresql+psycopg://127.0.0.1:9/mlflow"])
def test_an_unavailable_database_is_a_pipeline_error(url: str) -> None:
    with pytest.raises(PipelineError, match="Set SWEEP_DATABASE"):
        open_storage(url)
