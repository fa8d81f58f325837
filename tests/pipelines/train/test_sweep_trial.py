"""A training as a trial of a sweep: a tiny model with a real Trainer, study and MLflow store."""

import shutil
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments

from pipelines.core.checkpoints import Checkpoints
from pipelines.core.errors import PipelineError
from pipelines.experiments.optuna_storage import open_storage
from pipelines.experiments.trial_identity import Identity, trial_tags
from pipelines.modeling.trainer import DivergedError
from pipelines.train.sweep_trial import TrialReport, trial_callbacks


class Tiny(torch.nn.Module):
    """Two logits from four numbers, with dropout, which uses the random generator."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.linear(torch.nn.functional.dropout(x, 0.5, self.training))
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    url = f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('trials'))}"
    mlflow.set_tracking_uri(url)
    mlflow.create_experiment("sentiment")
    return url


@pytest.fixture(autouse=True)
def connected(database: str) -> None:
    mlflow.set_tracking_uri(database)
    mlflow.set_experiment("sentiment")


def study_of(database: str, accuracies: list[float]) -> tuple[optuna.Study, Identity]:
    """Return a study and its running trial; its finished trials had these accuracies after a quarter."""
    study = optuna.create_study(storage=open_storage(database), direction="maximize")
    for accuracy in accuracies:
        trial = study.ask()
        trial.report(accuracy, 25)
        study.tell(trial, accuracy)
    number = study.ask().number
    return study, Identity(database, study.study_name, number, "parent", startup=2)


def train(folder: Path, callbacks: list[TrainerCallback], accuracy: float = 0.5) -> Trainer:
    rows = [{"x": torch.arange(4.0) + i, "labels": i % 2} for i in range(16)]

    def metrics(_: EvalPrediction) -> dict[str, float]:
        return {"accuracy": accuracy}

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        num_train_epochs=1,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=1,
    )
    trainer = Trainer(
        model=Tiny(),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=metrics,
        callbacks=callbacks,
    )
    trainer.train()
    return trainer


def latest(study: optuna.Study) -> FrozenTrial:
    return study.get_trials()[-1]


def test_outside_a_sweep_there_are_no_callbacks_or_tags() -> None:
    with trial_callbacks(Checkpoints(Path())) as callbacks:
        assert callbacks == []
    assert trial_tags() == {}


def test_in_a_sweep_the_environment_identifies_the_trial(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, identity = study_of(database, [])
    for name, value in identity.environment().items():
        monkeypatch.setenv(name, value)
    assert trial_tags() == {
        "mlflow.parentRunId": "parent",
        "sweep.study": study.study_name,
        "sweep.trial": "0",
    }
    with trial_callbacks(Checkpoints(Path())) as (report,):
        assert isinstance(report, TrialReport)
        assert report.trial == identity


def test_reports_do_not_change_the_training(database: str, tmp_path: Path) -> None:
    study, identity = study_of(database, [0.4, 0.5])
    reported = train(tmp_path, [TrialReport(identity)], accuracy=0.9)
    assert latest(study).intermediate_values == {25: 0.9, 50: 0.9, 75: 0.9}
    unreported = train(tmp_path, [])
    assert reported.model is not None
    assert unreported.model is not None
    for ours, theirs in zip(reported.model.parameters(), unreported.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.process
def test_pruning_ends_the_run_as_killed_with_the_reason(database: str, tmp_path: Path) -> None:
    study, identity = study_of(database, [0.8, 0.9])
    with (
        pytest.raises(
            PipelineError, match=r"accuracy 0\.3000 after 25 % of the training is below the median"
        ),
        mlflow.start_run() as run,
    ):
        train(tmp_path, [TrialReport(identity)], accuracy=0.3)
    ended = mlflow.get_run(run.info.run_id)
    assert ended.info.status == "KILLED"
    assert "below the median" in ended.data.tags["sweep.pruned"]
    assert "below the median" in latest(study).user_attrs["pruned"]


@pytest.mark.parametrize(
    ("error", "kept"),
    [(None, False), (DivergedError("NaN"), False), (KeyboardInterrupt(), True), (OSError("disk"), True)],
)
def test_the_checkpoints_of_a_trial_are_kept_only_if_it_can_resume(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, kept: bool
) -> None:
    """Without an error, the trial is pruned."""
    study, identity = study_of(database, [0.8, 0.9])
    for name, value in identity.environment().items():
        monkeypatch.setenv(name, value)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.at(1).mkdir(parents=True)

    def run() -> None:
        with mlflow.start_run(), trial_callbacks(checkpoints) as callbacks:
            if error:
                raise error
            train(tmp_path, callbacks, accuracy=0.3)

    with pytest.raises(type(error) if error else PipelineError):
        run()
    assert checkpoints.folder.exists() == kept
    assert ("pruned" in latest(study).user_attrs) != kept


def test_an_abandoned_trial_ends(database: str, tmp_path: Path) -> None:
    study, identity = study_of(database, [])
    study.tell(identity.number, state=TrialState.FAIL)
    with pytest.raises(PipelineError, match="abandoned it"), mlflow.start_run():
        train(tmp_path, [TrialReport(identity)])
