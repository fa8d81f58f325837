"""The search of a sweep: schedules trials and runs each as a DVC experiment."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import optuna
from mlflow import MlflowClient
from optuna.exceptions import TrialPruned
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import Trial, TrialState

from pipelines.core.errors import PipelineError
from pipelines.core.params import Params
from pipelines.experiments.dvc_clone import Workspace
from pipelines.experiments.optuna_warnings import ignore_experimental
from pipelines.experiments.trial_identity import Identity
from pipelines.sweep.abandoned_trials import counts_towards_total, fail_abandoned
from pipelines.sweep.process_owner import owner
from pipelines.sweep.sweep_file import Sweep, baseline, override, suggest
from pipelines.sweep.trial_runs import experiment_name, nest_if_restored, run_ids

LOGS = Path("var/sweep")
MAX_CONSECUTIVE_FAILURES = 3
POLL_SECONDS = 2


class FailedError(Exception):
    """A trial failed; the sweep continues with the next."""


class SurplusError(Exception):
    """A trial beyond the total, created concurrently with the last one; it is not run."""


@dataclass
class Search:
    """A study and this process's share of its trials."""

    study: optuna.Study
    storage: RDBStorage
    client: MlflowClient
    sweep: Sweep
    params: Params
    total: int
    own_trials: set[int] = field(default_factory=set)
    started_after_last_trial: bool = False
    consecutive_failures: int = 0

    @property
    def parent_run(self) -> str:
        """The id of the study's MLflow run."""
        run_id: str = self.study.user_attrs["parent_run"]
        return run_id

    @property
    def logs(self) -> Path:
        return LOGS / self.study.study_name

    def run(self, workspace: Workspace) -> None:
        """Run trials until the study has `total`, then wait for the trials of other processes."""
        self.fail_abandoned()
        trials = self.study.get_trials(deepcopy=False)
        self.started_after_last_trial = sum(map(counts_towards_total, trials)) >= self.total and all(
            trial.state.is_finished() for trial in trials
        )
        while True:
            self.fail_abandoned()
            trials = self.study.get_trials(deepcopy=False)
            states = {trial.state for trial in trials}
            if sum(map(counts_towards_total, trials)) < self.total or TrialState.WAITING in states:
                self.run_one(workspace)
            elif TrialState.RUNNING in states:
                time.sleep(POLL_SECONDS)
            else:
                return

    def fail_abandoned(self) -> None:
        """Fail and retry the study's abandoned trials."""
        fail_abandoned(self.study, self.storage, self.client)

    def run_one(self, workspace: Workspace) -> None:
        """Run one trial. Raises PipelineError after MAX_CONSECUTIVE_FAILURES."""
        self.study.sampler = self.sampler(len(self.study.get_trials(deepcopy=False)))
        # Optuna's loop sends the heartbeat and fails trials of other processes that have none.
        self.study.optimize(
            lambda trial: self.objective(trial, workspace), n_trials=1, catch=(FailedError, SurplusError)
        )
        if self.consecutive_failures == MAX_CONSECUTIVE_FAILURES:
            raise PipelineError(
                f"{self.consecutive_failures} consecutive trials failed; their logs are in {self.logs}"
            )

    def objective(self, trial: Trial, workspace: Workspace) -> float:
        """Run the trial and return its accuracy on the validation reviews."""
        earlier = [t for t in self.study.get_trials(deepcopy=False) if t.number < trial.number]
        if sum(map(counts_towards_total, earlier)) >= self.total:
            raise SurplusError
        self.study.sampler = self.sampler(trial.number)
        values = suggest(trial, self.sweep)
        for name, value in owner().items():
            trial.set_user_attr(name, value)
        self.own_trials.add(trial.number)
        began = time.monotonic()
        try:
            accuracy = self.run_experiment(trial, values, workspace)
        except KeyboardInterrupt:
            self.study.enqueue_trial(values)
            raise
        except TrialPruned as reason:
            self.consecutive_failures = 0
            report(trial.number, values, f"pruned: {reason}")
            raise
        except FailedError as reason:
            self.consecutive_failures += 1
            report(trial.number, values, f"failed: {reason}")
            raise
        self.consecutive_failures = 0
        seconds = time.monotonic() - began
        finished = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best, number = max([(t.value or 0.0, -t.number) for t in finished] + [(accuracy, -trial.number)])
        report(
            trial.number,
            values,
            f"accuracy {accuracy:.4f} in {seconds:.0f} s, best {best:.4f} (trial {-number})",
        )
        return accuracy

    def run_experiment(self, trial: Trial, values: dict[str, Any], workspace: Workspace) -> float:
        """Run the trial as a DVC experiment and return its accuracy. Raises TrialPruned or FailedError."""
        name = experiment_name(self.study, trial.number)
        identity = Identity(
            self.storage.url, self.study.study_name, trial.number, self.parent_run, self.sweep.startup
        )
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{trial.number}.log"
        outcome = workspace.run(
            name,
            [override(param, value) for param, value in values.items()],
            identity.environment() | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
            log,
            started=lambda group: trial.set_user_attr("group", group),
        )
        if outcome.code:
            # Read anew: the training process has set the attribute, and `trial` does not have it.
            if reason := self.study.get_trials()[trial.number].user_attrs.get("pruned"):
                runs = run_ids(self.study, trial.number, self.client)
                trial.set_user_attr("run_id", runs[0] if runs else "")
                raise TrialPruned(reason)
            trial.set_user_attr("error", f"exit code {outcome.code}")
            raise FailedError(f"see {log}")
        trial.set_user_attr("experiment", name)
        trial.set_user_attr("run_id", outcome.run_id)
        nest_if_restored(outcome.run_id, identity, self.client)
        return outcome.accuracy

    def sampler(self, number: int) -> BaseSampler:
        """Return TPE, seeded by trial number; the first trial uses the values of params.yaml."""
        tpe = TPESampler(seed=self.params.train.seed + number, n_startup_trials=self.sweep.startup)
        if number:
            return tpe
        with ignore_experimental():
            return PartialFixedSampler(baseline(self.sweep, self.params), tpe)


def report(number: int, values: dict[str, Any], outcome: str) -> None:
    """Print a trial's params and outcome in one line."""
    shown = [f"{k}={v:.3g}" if type(v) is float else f"{k}={v}" for k, v in values.items()]
    print(f"trial {number}: {' '.join(shown)}: {outcome}", flush=True)
