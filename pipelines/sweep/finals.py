"""The finals of a sweep: its best trials are exported and evaluated, each with several seeds."""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.trial import FrozenTrial, Trial, TrialState

from pipelines.core.errors import PipelineError
from pipelines.experiments.dvc_clone import Workspace
from pipelines.sweep.abandoned_trials import params_of
from pipelines.sweep.search import Search
from pipelines.sweep.shared_trials import FailedError, SharedTrials, SurplusError
from pipelines.sweep.study import EVALUATION_STAGES, code_sha256, create_or_load, wait_for
from pipelines.sweep.sweep_file import SEED, final_seeds

MAX_TRIALS = 2**31
SEEDS = 2**32


@dataclass(kw_only=True)
class Finals(SharedTrials):
    """One trial per finalist and seed; its value is the accuracy of the served form.

    These trials have a study of their own, whose params are the number of the search's trial and the seed.
    """

    search: Search

    @property
    def name(self) -> str:
        return self.search.name

    def objective(self, trial: Trial, workspace: Workspace) -> float:
        if not params_of(self.trials[trial.number]):
            raise SurplusError  # another process was faster
        number = trial.suggest_int("trial", 0, MAX_TRIALS)
        seed = trial.suggest_int("seed", 0, SEEDS - 1)
        if any(pair(other) == (number, seed) and other.state == TrialState.COMPLETE for other in self.trials):
            raise SurplusError
        params = self.search.trials[number].params | {SEED: seed}
        start = time.monotonic()
        try:
            outcome = self.run_experiment(trial, f"{number}-seed-{seed}", params, workspace, "evaluate")
        except FailedError as reason:
            print(f"final of trial {number}, seed {seed}: failed: {reason}", flush=True)
            raise
        self.nest(outcome.run_id, number)
        measured = f"accuracy {outcome.accuracy:.4f} as served, in {time.monotonic() - start:.0f} s"
        print(f"final of trial {number}, seed {seed}: {measured}", flush=True)
        return outcome.accuracy

    def nest(self, run_id: str, number: int) -> None:
        """Mark the run as one of a finalist, below the sweep's run even if it was trained for another."""
        self.client.set_tag(run_id, MLFLOW_PARENT_RUN_ID, self.parent_run)
        self.client.set_tag(run_id, "sweep.finalist", str(number))

    def latest(self, number: int, seed: int) -> FrozenTrial | None:
        """Return the latest reported trial of this finalist and seed, preferably one with an accuracy."""
        of_pair = [trial for trial in self.reported if pair(trial) == (number, seed)]
        return max(
            of_pair, key=lambda trial: (trial.state == TrialState.COMPLETE, trial.number), default=None
        )


def finalists(search: Search) -> list[FrozenTrial]:
    """Return the best finished trials, at most `finalists` of sweep.yaml, all with different params."""
    distinct: dict[str, FrozenTrial] = {}
    for trial in sorted(search.finished, key=lambda trial: (-(trial.value or 0.0), trial.number)):
        distinct.setdefault(json.dumps(trial.params, sort_keys=True), trial)
    return list(distinct.values())[: search.sweep.finalists]


def open_finals(search: Search) -> Finals:
    """Open the finals of the search, creating them if necessary; their failed trials are run again.

    Other finalists or other code have other finals; DVC's cache answers what they have in common. Raises
    PipelineError if no trial of the search has finished.
    """
    if not search.finished:
        raise PipelineError(f"no trial has finished; their logs are in {search.logs}")
    seeds = final_seeds(search.sweep, search.params)
    pairs = [(trial.number, seed) for trial in finalists(search) for seed in seeds]
    facts: list[Any] = [pairs, code_sha256(EVALUATION_STAGES)]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]
    study, created = create_or_load(search.storage, f"{search.name}-finals-{digest}")
    if not created:
        wait_for(study, "enqueued")
    study.set_user_attr("parent_run", search.parent_run)
    finals = Finals(study, search.storage, search.client, search.began, search=search)
    done = {pair(trial) for trial in finals.trials if not failed_before(trial, search)}
    for number, seed in pairs:
        if (number, seed) not in done:
            study.enqueue_trial({"trial": number, "seed": seed})
    study.set_user_attr("enqueued", True)
    return finals


def failed_before(trial: FrozenTrial, search: Search) -> bool:
    """Return whether the trial failed before this process started."""
    return trial.state == TrialState.FAIL and (trial.datetime_complete or search.began) < search.began


def pair(trial: FrozenTrial) -> tuple[int, int] | None:
    """Return the number of the search's trial and the seed, or None for a trial that was not run."""
    params = params_of(trial)
    return (params["trial"], params["seed"]) if params else None
