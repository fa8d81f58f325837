"""A training that is a trial of a sweep: tells how it goes, and ends when the sweep sees no point in it."""

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mlflow
import optuna
import torch
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.trial import TrialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pipelines.core.errors import PipelineError
from pipelines.experiments.optuna_storage import open_storage, pruner

# After these shares of the training a trial is compared with the finished ones.
SHARES = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))


@dataclass(frozen=True)
class Identity:
    """Which trial of which study runs here; a sweep hands it down in the environment."""

    database: str
    study: str
    number: int
    parent_run: str
    startup: int

    def environment(self) -> dict[str, str]:
        """For the process that is to run the trial."""
        return {
            "SWEEP_DATABASE": self.database,
            "SWEEP_STUDY": self.study,
            "SWEEP_TRIAL": str(self.number),
            "SWEEP_PARENT_RUN": self.parent_run,
            "SWEEP_STARTUP": str(self.startup),
        }

    def tags(self) -> dict[str, str]:
        """For the trial's run: MLflow shows it below the study's."""
        return {
            MLFLOW_PARENT_RUN_ID: self.parent_run,
            "sweep.study": self.study,
            "sweep.trial": str(self.number),
        }


def identity() -> Identity | None:
    """The trial that this process runs, or None: it is an ordinary run of the pipeline."""
    env = os.environ
    if "SWEEP_TRIAL" not in env:
        return None
    return Identity(
        database=env["SWEEP_DATABASE"],
        study=env["SWEEP_STUDY"],
        number=int(env["SWEEP_TRIAL"]),
        parent_run=env["SWEEP_PARENT_RUN"],
        startup=int(env["SWEEP_STARTUP"]),
    )


def trial_tags() -> dict[str, str]:
    """Tags of the run that begins here; none outside a sweep."""
    here = identity()
    return here.tags() if here else {}


def trial_callbacks() -> list[TrainerCallback]:
    """What the Trainer needs to take part in a sweep; nothing outside one."""
    here = identity()
    return [Report(here)] if here else []


class Report(TrainerCallback):
    """Has the Trainer evaluate at SHARES of the training, and reports `eval_accuracy` to the study.

    Raises PipelineError, after ending the run as KILLED, when the trial is pruned or was given up by its
    sweep. A stage that fails leaves nothing in DVC's cache: a model trained by half must never be taken
    for one with these params.
    """

    def __init__(self, here: Identity) -> None:
        self.here = here
        self.storage = open_storage(here.database)
        self.study = optuna.load_study(
            study_name=here.study, storage=self.storage, pruner=pruner(here.startup)
        )
        study_id = self.storage.get_study_id_from_name(here.study)
        self.trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, here.number)
        self.random_state: torch.Tensor | None = None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        # At the end of an epoch the Trainer evaluates anyway.
        if share_at(state) and not float(state.epoch or 0).is_integer():
            # Evaluating draws a random number; the training shall go on as if nobody had looked.
            self.random_state = torch.get_rng_state()
            control.should_evaluate = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **known: Any,
    ) -> None:
        if self.random_state is not None:
            torch.set_rng_state(self.random_state)
            self.random_state = None
        if share := share_at(state):
            self.report(share, known["metrics"]["eval_accuracy"])

    def report(self, share: int, accuracy: float) -> None:
        """Tell the study the accuracy after `share` percent of the training."""
        if self.storage.get_trial(self.trial_id).state != TrialState.RUNNING:
            self.end("its sweep gave it up: it runs elsewhere")
        self.storage.set_trial_intermediate_value(self.trial_id, share, accuracy)
        if self.study.pruner.prune(self.study, self.storage.get_trial(self.trial_id)):
            reason = f"accuracy {accuracy:.4f} after {share} % of the training is below the median"
            self.storage.set_trial_user_attr(self.trial_id, "pruned", reason)
            self.end(reason)

    def end(self, reason: str) -> None:
        mlflow.set_tag("sweep.pruned", reason)
        mlflow.end_run("KILLED")
        raise PipelineError(f"trial {self.here.number} of {self.here.study} ends early: {reason}")


def share_at(state: TrainerState) -> int:
    """Percent of the training done, if this step is one to compare at; else 0."""
    steps = {int(state.max_steps * share): int(100 * share) for share in SHARES}
    return steps.get(state.global_step, 0)
