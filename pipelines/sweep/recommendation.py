"""What a sweep recommends: the best finalist among those that `register` accepts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState

from pipelines.core.errors import PipelineError
from pipelines.register.candidates import newest, objection
from pipelines.sweep.finals import Finals, finalists
from pipelines.sweep.search import params_in_words
from pipelines.sweep.sweep_file import final_seeds


@dataclass(frozen=True)
class Final:
    """The run of a finalist with one seed, up to `evaluate`."""

    seed: int
    experiment: str
    run_id: str
    accuracy: float
    """Of the served form, on the validation reviews; NaN if a stage failed."""
    refused: str
    """Why `register` does not accept the run; empty if it does."""


@dataclass(frozen=True)
class Finalist:
    """A trial of the search and its finals."""

    trial: FrozenTrial
    finals: list[Final]

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def params(self) -> dict[str, Any]:
        return self.trial.params

    @property
    def accuracy(self) -> float:
        """The mean over the seeds."""
        return fmean(final.accuracy for final in self.finals)

    @property
    def refused(self) -> str:
        """Why the finalist cannot be recommended; empty if `register` accepts its run with every seed."""
        return "; ".join(f"seed {final.seed}: {final.refused}" for final in self.finals if final.refused)

    @property
    def best(self) -> Final:
        """The most accurate of its runs."""
        return max(self.finals, key=lambda final: (not final.refused, final.accuracy, -final.seed))


def results(finals: Finals, refuse_dirty: bool) -> list[Finalist]:
    """Return the finalists with their finals: those that `register` accepts, best first, then the others."""
    search = finals.search
    seeds = final_seeds(search.sweep, search.params)
    found = [
        Finalist(trial, [_final(finals, trial.number, seed, refuse_dirty) for seed in seeds])
        for trial in finalists(search)
    ]
    return sorted(found, key=lambda one: (bool(one.refused), -_or_lowest(one.accuracy), one.number))


def recommended(found: Sequence[Finalist]) -> Finalist:
    """Return the first finalist. Raises PipelineError with all reasons if `register` accepts none of them."""
    if found[0].refused:
        reasons = "; ".join(f"trial {one.number}, {one.refused}" for one in found)
        raise PipelineError(
            f"no finalist can be recommended, and none is registered: {reasons}. Change the space or "
            "`finalists` in sweep.yaml, or the limits in params.yaml."
        )
    return found[0]


def in_words(best: Finalist, found: Sequence[Finalist], registered: str) -> str:
    """Say what is recommended, and if the run `registered` is another one, why."""
    seeds = " and ".join(str(final.seed) for final in best.finals)
    text = (
        f"recommended: trial {best.number} ({params_in_words(best.params)}), mean accuracy "
        f"{best.accuracy:.4f} with seeds {seeds}\n"
        f"to use its params and results: `dvc exp apply {best.best.experiment}`"
    )
    if registered == best.best.run_id:
        return text
    runs = {
        final.run_id: f"trial {one.number} with seed {final.seed}" for one in found for final in one.finals
    }
    origin = runs.get(registered, "a run outside of this sweep")
    return (
        f"{text}\nthe registered version is another, of {origin}: `register` chooses the most accurate "
        "single run on this data and split"
    )


def _final(finals: Finals, number: int, seed: int, refuse_dirty: bool) -> Final:
    trial = finals.latest(number, seed)
    if trial is None:
        return Final(seed, "", "", math.nan, "its process died repeatedly")
    if trial.state != TrialState.COMPLETE:
        return Final(seed, "", "", math.nan, trial.user_attrs["error"])
    run_id = trial.user_attrs["run_id"]
    return Final(
        seed,
        trial.user_attrs["experiment"],
        run_id,
        trial.value or 0.0,
        _objection(finals.client, run_id, refuse_dirty),
    )


def _objection(client: MlflowClient, run_id: str, refuse_dirty: bool) -> str:
    model = newest(client, client.get_run(run_id))
    return objection(model, refuse_dirty) if model else "it exported no model"


def _or_lowest(accuracy: float) -> float:
    return -math.inf if math.isnan(accuracy) else accuracy
