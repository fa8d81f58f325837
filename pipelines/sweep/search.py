"""The trials of a sweep: scheduling and running them, and recovering those whose process died."""

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import optuna
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.exceptions import ExperimentalWarning, TrialPruned, UpdateFinishedTrialError
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from pipelines.core.errors import PipelineError
from pipelines.core.params import Params
from pipelines.experiments.dvc_clone import Workspace, end_group
from pipelines.experiments.trial_identity import Identity
from pipelines.sweep.process_owner import is_dead, is_experiment, machine, owner
from pipelines.sweep.sweep_file import Sweep, baseline, override, suggest

LOGS = Path("var/sweep")
RETRIES = 2
FAILURES_IN_A_ROW = 3
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
    parent_run: str
    mine: set[int] = field(default_factory=set)
    came_late: bool = False
    failures: int = 0

    def run(self, place: Workspace) -> None:
        """Run trials until the study has `total`, then wait for the trials of other processes."""
        self.give_up_dead()
        trials = self.study.get_trials(deepcopy=False)
        self.came_late = sum(map(counts, trials)) >= self.total and all(t.state.is_finished() for t in trials)
        while True:
            self.give_up_dead()
            trials = self.study.get_trials(deepcopy=False)
            if sum(map(counts, trials)) < self.total or any(t.state == TrialState.WAITING for t in trials):
                self.run_one(place)
            elif any(t.state == TrialState.RUNNING for t in trials):
                time.sleep(POLL_SECONDS)
            else:
                return

    def run_one(self, place: Workspace) -> None:
        """Run one trial. Raises PipelineError after FAILURES_IN_A_ROW consecutive failures."""
        self.study.sampler = self.sampler(len(self.study.get_trials(deepcopy=False)))
        # Optuna's loop sends the heartbeat and fails trials of other processes that have none.
        self.study.optimize(
            lambda trial: self.objective(trial, place), n_trials=1, catch=(FailedError, SurplusError)
        )
        if self.failures == FAILURES_IN_A_ROW:
            raise PipelineError(f"{self.failures} trials in a row failed; their logs are in {self.logs}")

    def objective(self, trial: Trial, place: Workspace) -> float:
        """Run the trial and return its accuracy on the validation reviews."""
        earlier = [t for t in self.study.get_trials(deepcopy=False) if t.number < trial.number]
        if sum(map(counts, earlier)) >= self.total:
            raise SurplusError
        self.study.sampler = self.sampler(trial.number)
        values = suggest(trial, self.sweep)
        for name, value in owner().items():
            trial.set_user_attr(name, value)
        self.mine.add(trial.number)
        began = time.monotonic()
        try:
            accuracy = self.experiment(trial, values, place)
        except KeyboardInterrupt:
            self.study.enqueue_trial(values)
            raise
        except (TrialPruned, FailedError) as end:
            kind = "pruned" if isinstance(end, TrialPruned) else "failed"
            self.failures = self.failures + 1 if kind == "failed" else 0
            say(trial.number, values, f"{kind}: {end}")
            raise
        self.failures = 0
        before = [t for t in self.study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
        best, number = max([(t.value or 0.0, -t.number) for t in before] + [(accuracy, -trial.number)])
        seconds = time.monotonic() - began
        say(
            trial.number,
            values,
            f"accuracy {accuracy:.4f} in {seconds:.0f} s, best {best:.4f} (trial {-number})",
        )
        return accuracy

    def experiment(self, trial: Trial, values: dict[str, Any], place: Workspace) -> float:
        """Run the trial as a DVC experiment. Raises TrialPruned or FailedError."""
        name = f"{self.study.study_name}-{trial.number}"
        here = Identity(
            self.storage.url, self.study.study_name, trial.number, self.parent_run, self.sweep.startup
        )
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{trial.number}.log"
        outcome = place.run(
            name,
            [override(param, value) for param, value in values.items()],
            here.environment() | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
            log,
            started=lambda group: trial.set_user_attr("group", group),
        )
        if outcome.code:
            # Read anew: the training process has set the attribute, and `trial` does not have it.
            if reason := self.study.get_trials()[trial.number].user_attrs.get("pruned"):
                trial.set_user_attr("run_id", self.run_of(trial.number))
                raise TrialPruned(reason)
            trial.set_user_attr("error", f"exit code {outcome.code}")
            raise FailedError(f"see {log}")
        trial.set_user_attr("experiment", name)
        trial.set_user_attr("run_id", outcome.run_id)
        self.adopt(outcome.run_id, here)
        return outcome.accuracy

    def adopt(self, run_id: str, here: Identity) -> None:
        """Nest a run below the study's run if DVC restored its result from before the sweep."""
        if MLFLOW_PARENT_RUN_ID not in self.client.get_run(run_id).data.tags:
            for tag, value in here.tags().items():
                self.client.set_tag(run_id, tag, value)

    def run_of(self, number: int) -> str:
        """Return the id of a trial's newest MLflow run, or an empty string if it has none."""
        runs = self.runs(number)
        return runs[0] if runs else ""

    def runs(self, number: int, status: str = "") -> list[str]:
        wanted = [f"tags.`sweep.study` = '{self.study.study_name}'", f"tags.`sweep.trial` = '{number}'"]
        wanted += [f"attributes.status = '{status}'"] if status else []
        experiment = self.client.get_run(self.parent_run).info.experiment_id
        found = self.client.search_runs([experiment], " and ".join(wanted), order_by=["start_time DESC"])
        return [run.info.run_id for run in found]

    def sampler(self, number: int) -> BaseSampler:
        """Return TPE, seeded by trial number; the first trial uses the values of params.yaml."""
        tpe = TPESampler(seed=self.params.seed + number, n_startup_trials=self.sweep.startup)
        if number:
            return tpe
        with quiet():
            return PartialFixedSampler(baseline(self.sweep, self.params), tpe)

    def give_up_dead(self) -> None:
        """Fail trials whose process on this machine died, and trials anywhere without a heartbeat."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if is_dead(trial):
                try:
                    self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                except UpdateFinishedTrialError:
                    continue  # another process has failed it already
                self.retry(self.study, trial)
        with quiet():
            optuna.storages.fail_stale_trials(self.study)

    def retry(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """End a dead trial's processes and MLflow runs, and enqueue its params again."""
        name = f"{study.study_name}-{trial.number}"
        group = trial.user_attrs.get("group")
        if trial.user_attrs.get("machine") == machine() and group and is_experiment(group, name):
            end_group(group)
        for run_id in self.runs(trial.number, status="RUNNING"):
            self.client.set_terminated(run_id, "KILLED")
        times = trial.user_attrs.get("retries", 0)
        if times < RETRIES and trial.params:
            study.enqueue_trial(trial.params, user_attrs={"retries": times + 1})
            print(f"trial {trial.number}: its process is gone; its params are tried again", flush=True)

    @property
    def logs(self) -> Path:
        return LOGS / self.study.study_name


def counts(trial: FrozenTrial) -> bool:
    """Return whether a trial counts towards the total; an abandoned trial that is retried does not."""
    attrs = trial.user_attrs
    return trial.state != TrialState.FAIL or "error" in attrs or attrs.get("retries", 0) >= RETRIES


def say(number: int, values: dict[str, Any], outcome: str) -> None:
    shown: Sequence[str] = [f"{k}={v:.3g}" if type(v) is float else f"{k}={v}" for k, v in values.items()]
    print(f"trial {number}: {' '.join(shown)}: {outcome}", flush=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Optuna's warnings about experimental features; its version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
