"""What a sweep makes of a trial that ends early; trainings are in test_trial.py and test_sweep.py."""

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


class Pruned(Workspace):
    """Every experiment ends as a training that the study has ended; it says why through its own storage."""

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
        theirs = storage.get_all_trials(storage.get_study_id_from_name(study))[int(number)]
        storage.set_trial_user_attr(theirs._trial_id, "pruned", "below the median")
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
    yield Search(study, storage, client, sweep, params, total=4, parent_run=parent)
    mlflow.set_tracking_uri("")


def test_trials_that_were_pruned_count_and_are_no_failures(
    search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    search.run(Pruned(Path(), Path()))
    assert [trial.state for trial in search.study.get_trials()] == [TrialState.PRUNED] * 4
    assert search.failures == 0
    assert "pruned: below the median" in "".join(capsys.readouterr())
