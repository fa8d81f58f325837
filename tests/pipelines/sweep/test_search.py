"""Scheduling of trials, without a training."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mlflow
import pytest
from optuna.trial import TrialState

from pipelines.experiments.dvc_clone import Outcome, Stage, Workspace
from pipelines.experiments.optuna_storage import open_storage
from pipelines.sweep.search import Search


class PruningWorkspace(Workspace):
    """Every experiment ends like a pruned training, which stores the reason in the study and then fails."""

    def run(
        self,
        name: str,
        overrides: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        started: Callable[[int], None],
        stage: Stage = "evaluate",
    ) -> Outcome:
        assert stage == "train"
        study, _, number = name.rpartition("-")
        storage = open_storage(mlflow.get_tracking_uri())
        trial = storage.get_all_trials(storage.get_study_id_from_name(study))[int(number)]
        storage.set_trial_user_attr(trial._trial_id, "pruned", "below the median")
        return Outcome(1)


def test_pruned_trials_count_towards_the_total_and_are_not_failures(
    search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    search.run(PruningWorkspace(Path(), Path()))
    assert [trial.state for trial in search.study.get_trials()] == [TrialState.PRUNED] * 4
    assert search.consecutive_failures == 0
    assert "pruned: below the median" in "".join(capsys.readouterr())


def test_the_accuracy_of_a_trial_is_the_trained_models_last_one(tmp_path: Path) -> None:
    history = tmp_path / "results/train/history.csv"
    history.parent.mkdir(parents=True)
    history.write_text(
        "step,loss,validation_loss,validation_accuracy\n10,0.5,,\n10,,0.4,0.75\n20,,0.3,0.875\n20,0.1,,\n"
    )
    assert Workspace(tmp_path, tmp_path).accuracy("train") == 0.875
