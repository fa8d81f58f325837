"""The trials of a study, which several processes share; each trial runs as a DVC experiment."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import optuna
from mlflow import MlflowClient
from optuna.exceptions import TrialPruned
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from pipelines.experiments.dvc_clone import Outcome, Stage, Workspace
from pipelines.experiments.trial_identity import Identity
from pipelines.sweep.abandoned_trials import fail_abandoned
from pipelines.sweep.process_owner import owner
from pipelines.sweep.sweep_file import override
from pipelines.sweep.trial_runs import nest_if_restored, run_ids

LOGS = Path("var/sweep")
POLL_SECONDS = 2


class FailedError(Exception):
    """A trial failed; the sweep continues with the next."""


class SurplusError(Exception):
    """A trial created concurrently with the last one, for which no work is left; it is not run."""


@dataclass
class SharedTrials:
    """A study and this process's share of its trials."""

    study: optuna.Study
    storage: RDBStorage
    client: MlflowClient
    began: datetime = field(default_factory=datetime.now)
    own_trials: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The name of the sweep, with which those of its DVC experiments begin."""
        return self.study.study_name

    @property
    def parent_run(self) -> str:
        """The id of the sweep's MLflow run."""
        run_id: str = self.study.user_attrs["parent_run"]
        return run_id

    @property
    def logs(self) -> Path:
        return LOGS / self.name

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @property
    def reported(self) -> list[FrozenTrial]:
        """The trials whose process reported an outcome; the others were abandoned, or not run at all."""
        return [
            trial
            for trial in self.trials
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "error" in trial.user_attrs
        ]

    def has_work(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether a trial is left to run."""
        return any(trial.state == TrialState.WAITING for trial in trials)

    def run(self, workspace: Workspace) -> None:
        """Run trials until none is left, then wait for the trials of other processes."""
        while True:
            self.fail_abandoned()
            trials = self.trials
            if self.has_work(trials):
                self.run_one(workspace)
            elif any(trial.state == TrialState.RUNNING for trial in trials):
                time.sleep(POLL_SECONDS)
            else:
                return

    def fail_abandoned(self) -> None:
        """Fail and retry the study's abandoned trials."""
        fail_abandoned(self.study, self.storage, self.client)

    def run_one(self, workspace: Workspace) -> None:
        """Run one trial."""
        # Optuna's loop sends the heartbeat and fails trials of other processes that have none.
        self.study.optimize(
            lambda trial: self.objective(trial, workspace), n_trials=1, catch=(FailedError, SurplusError)
        )

    def objective(self, trial: Trial, workspace: Workspace) -> float:
        """Run the trial and return its accuracy on the validation reviews."""
        raise NotImplementedError

    def run_experiment(
        self,
        trial: Trial,
        label: str,
        params: Mapping[str, Any],
        workspace: Workspace,
        stage: Stage,
        startup: int = 0,
    ) -> Outcome:
        """Run the pipeline with these params up to `stage`, as the DVC experiment NAME-LABEL.

        `startup` is the number of finished trials before pruning starts; 0: the trial is not pruned. Raises
        TrialPruned or FailedError. After an interruption, another trial will use the same params.
        """
        name, log = f"{self.name}-{label}", self.logs / f"{label}.log"
        for attribute, value in (owner() | {"experiment": name}).items():
            trial.set_user_attr(attribute, value)
        self.own_trials.add(trial.number)
        self.logs.mkdir(parents=True, exist_ok=True)
        identity = Identity(self.storage.url, self.study.study_name, trial.number, self.parent_run, startup)
        try:
            outcome = workspace.run(
                name,
                [override(param, value) for param, value in params.items()],
                identity.environment() | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
                log,
                started=lambda group: trial.set_user_attr("group", group),
                stage=stage,
            )
        except KeyboardInterrupt:
            self.study.enqueue_trial(trial.params)
            raise
        if outcome.code:
            # Read anew: the training process has set the attribute, and `trial` does not have it.
            if reason := self.trials[trial.number].user_attrs.get("pruned"):
                runs = run_ids(self.study, trial.number, self.client)
                trial.set_user_attr("run_id", runs[0] if runs else "")
                raise TrialPruned(reason)
            trial.set_user_attr("error", error := failure(log, outcome.code))
            raise FailedError(f"{error} (see {log})")
        trial.set_user_attr("run_id", outcome.run_id)
        nest_if_restored(outcome.run_id, identity, self.client)
        return outcome


def failure(log: Path, code: int) -> str:
    """Return the error of the stage that failed, from the experiment's output."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else f"exit code {code}"
