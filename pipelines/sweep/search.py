"""The search of a sweep: schedules trials of different params, which end after `train`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.exceptions import TrialPruned
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from pipelines.core.errors import PipelineError
from pipelines.core.params import Params
from pipelines.experiments.dvc_clone import Workspace
from pipelines.experiments.optuna_warnings import ignore_experimental
from pipelines.sweep.abandoned_trials import counts_towards_total
from pipelines.sweep.shared_trials import FailedError, SharedTrials, SurplusError
from pipelines.sweep.sweep_file import Sweep, baseline, seed, suggest

MAX_CONSECUTIVE_FAILURES = 3


@dataclass(kw_only=True)
class Search(SharedTrials):
    """Trials that Optuna proposes, `total` together; a trial's value is the trained model's accuracy."""

    sweep: Sweep
    params: Params
    total: int
    consecutive_failures: int = 0

    @property
    def finished(self) -> list[FrozenTrial]:
        """The trials with an accuracy."""
        return [trial for trial in self.trials if trial.state == TrialState.COMPLETE]

    def has_work(self, trials: Sequence[FrozenTrial]) -> bool:
        return sum(map(counts_towards_total, trials)) < self.total or super().has_work(trials)

    def run_one(self, workspace: Workspace) -> None:
        """Run one trial. Raises PipelineError after MAX_CONSECUTIVE_FAILURES."""
        self.study.sampler = self.sampler(len(self.trials))
        super().run_one(workspace)
        if self.consecutive_failures == MAX_CONSECUTIVE_FAILURES:
            raise PipelineError(
                f"{self.consecutive_failures} consecutive trials failed; their logs are in {self.logs}"
            )

    def objective(self, trial: Trial, workspace: Workspace) -> float:
        earlier = [other for other in self.trials if other.number < trial.number]
        if sum(map(counts_towards_total, earlier)) >= self.total:
            raise SurplusError
        self.study.sampler = self.sampler(trial.number)
        values = suggest(trial, self.sweep)
        start = time.monotonic()
        try:
            accuracy = self.run_experiment(
                trial, str(trial.number), values, workspace, "train", self.sweep.startup
            ).accuracy
        except TrialPruned as reason:
            self.consecutive_failures = 0
            report(trial.number, values, f"pruned: {reason}")
            raise
        except FailedError as reason:
            self.consecutive_failures += 1
            report(trial.number, values, f"failed: {reason}")
            raise
        self.consecutive_failures = 0
        seconds = time.monotonic() - start
        best, number = max(
            [(other.value or 0.0, -other.number) for other in self.finished] + [(accuracy, -trial.number)]
        )
        report(
            trial.number,
            values,
            f"accuracy {accuracy:.4f} in {seconds:.0f} s, best {best:.4f} (trial {-number})",
        )
        return accuracy

    def sampler(self, number: int) -> BaseSampler:
        """Return TPE, seeded by trial number; the first trial uses the values of params.yaml."""
        tpe = TPESampler(seed=seed(self.params) + number, n_startup_trials=self.sweep.startup)
        if number:
            return tpe
        with ignore_experimental():
            return PartialFixedSampler(baseline(self.sweep, self.params), tpe)


def report(number: int, values: dict[str, Any], outcome: str) -> None:
    """Print a trial's params and outcome in one line."""
    print(f"trial {number}: {params_in_words(values)}: {outcome}", flush=True)


def params_in_words(values: dict[str, Any]) -> str:
    """Return the params as NAME=VALUE, with three digits."""
    return " ".join(f"{k}={v:.3g}" if type(v) is float else f"{k}={v}" for k, v in values.items())
