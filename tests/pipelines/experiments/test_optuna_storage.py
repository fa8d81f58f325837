"""Optuna's tables in MLflow's database, with several processes at once."""

import shutil
import sqlite3
from pathlib import Path

import mlflow
import optuna
import pytest

from pipelines.core.errors import PipelineError
from pipelines.experiments.optuna_storage import open_storage, storage_url
from tests.pipelines.processes import together
from tests.pipelines.runs import claiming


@pytest.mark.process
def test_a_waiting_trial_is_run_by_one_process_and_mlflow_never_notices(
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
    claimed = [value for said in together(3, claiming, url) for value in said]
    # Who comes when nothing waits any more gets a random one: at most one each.
    assert sorted(x for x in claimed if x < 12) == list(range(12))
    numbers = [trial.number for trial in study.get_trials()]
    assert numbers == list(range(len(numbers)))
    assert revision(file) == before
    assert client.get_experiment_by_name("sentiment") is not None


def revision(file: Path) -> list[tuple[str]]:
    with sqlite3.connect(file) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


def test_behind_an_mlflow_server_the_database_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWEEP_DATABASE", raising=False)
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(PipelineError, match="set SWEEP_DATABASE"):
        storage_url()
    monkeypatch.setenv("SWEEP_DATABASE", "postgresql+psycopg://127.0.0.1/mlflow")
    assert storage_url() == "postgresql+psycopg://127.0.0.1/mlflow"


@pytest.mark.parametrize("url", ["nonsense://x", "postgresql+psycopg://127.0.0.1:9/mlflow"])
def test_a_database_that_is_not_there_is_an_error_in_a_line(url: str) -> None:
    with pytest.raises(PipelineError, match="Set SWEEP_DATABASE"):
        open_storage(url)
