"""Scheduling of trials, without a training."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from pipelines.core.params import load_params
from pipelines.experiments.dvc_clone import Outcome, Workspace
from pipelines.experiments.optuna_storage import open_storage
from pipelines.sweep.search import Search
from pipelines.sweep.sweep_file import load_sweep


class PruningWorkspace(Workspace):
    """Every experiment ends like a pruned training, which stores the reason in the study and then fails."""

    def run(
        self,
        name: str,
        overrides: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        started: Callable[[int], None],
    ) -> Outcome:
        study, _, number = name.rpartition("-")
        storage = open_storage(mlflow.get_tracking_uri())
        trial = storage.get_all_trials(storage.get_study_id_from_name(study))[int(number)]
        storage.set_trial_user_attr(trial._trial_id, "pruned", "below the median")
        return Outcome(1)


@pytest.fixture
def search(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    params = load_params()
    sweep = load_sweep(params)
    monkeypatch.chdir(tmp_path)
    client = MlflowClient()
    parent = client.create_run(client.create_experiment("sentiment")).info.run_id
    storage = open_storage(uri)
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study.set_user_attr("parent_run", parent)
    yield Search(study, storage, client, sweep, params, total=4)
    mlflow.set_tracking_uri("")


def test_pruned_trials_count_towards_the_total_and_are_not_failures(
    search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    search.run(PruningWorkspace(Path(), Path()))
    assert [trial.state for trial in search.study.get_trials()] == [TrialState.PRUNED] * 4
    assert search.consecutive_failures == 0
    assert "pruned: below the median" in "".join(capsys.readouterr())
