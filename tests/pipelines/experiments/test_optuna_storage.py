"""Optuna's tables in MLflow's database, with several processes at once."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import optuna
import pytest

from pipelines.core.errors import PipelineError
from pipelines.experiments.optuna_storage import open_storage, storage_url
from tests.project import ROOT

CLAIM = """
import sys, optuna
from pipelines.experiments.optuna_storage import open_storage
study = optuna.load_study(storage=open_storage(sys.argv[1]), study_name="s")
claimed = []
while any(t.state.name == "WAITING" for t in study.get_trials(deepcopy=False)):
    trial = study.ask()
    claimed.append(trial.suggest_int("x", 0, 10**9))
    study.tell(trial, 0.0)
print(*claimed)
"""


def test_a_waiting_trial_is_run_by_one_process_and_mlflow_never_notices(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    url = f"sqlite:///{file}"
    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient()
    client.create_experiment("sentiment")
    before = revision(file)
    study = optuna.create_study(storage=open_storage(url), study_name="s")
    for number in range(12):
        study.enqueue_trial({"x": number})
    processes = [
        subprocess.Popen([sys.executable, "-c", CLAIM, url], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    claimed = [int(word) for line in said for word in line.split()]
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
