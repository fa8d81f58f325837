"""A search in a study of its own, whose trials need no training."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow import MlflowClient

from pipelines.core.params import load_params
from pipelines.experiments.optuna_storage import open_storage
from pipelines.sweep.search import Search
from pipelines.sweep.sweep_file import load_sweep
from tests.project import ROOT


@pytest.fixture
def search(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """A search of four trials with two finalists, in a folder with the project's code."""
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    params = load_params(ROOT / "params.yaml")
    sweep = load_sweep(params, ROOT / "sweep.yaml").model_copy(update={"finalists": 2, "seeds": 2})
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    monkeypatch.chdir(tmp_path)
    client = MlflowClient()
    parent = client.create_run(client.create_experiment("sentiment")).info.run_id
    storage = open_storage(uri)
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study.set_user_attr("parent_run", parent)
    yield Search(study, storage, client, sweep=sweep, params=params, total=4)
    mlflow.set_tracking_uri("")
