"""A sweep trial's side of training: reports intermediate accuracy and ends the training when pruned."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import mlflow
import optuna
import torch
from optuna.trial import TrialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pipelines.core.checkpoints import Checkpoints
from pipelines.core.errors import PipelineError
from pipelines.experiments.optuna_storage import open_storage, pruner
from pipelines.experiments.trial_identity import Identity, identity
from pipelines.modeling.trainer import DivergedError

# Fractions of the training after which the pruner compares a trial with the finished ones.
SHARES = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))


class TrialEndedError(PipelineError):
    """The trial was pruned or is no longer its sweep's."""


@contextmanager
def trial_callbacks(checkpoints: Checkpoints) -> Iterator[list[TrainerCallback]]:
    """Yield the callbacks that a sweep adds to the Trainer; none outside a sweep and in its finals.

    A trial that ends early does not resume, so its checkpoints are deleted. An interrupted or failed one
    keeps them. A training that diverges would do so again, and is reported as pruned.
    """
    trial = identity()
    if not trial or not trial.startup:
        yield []
        return
    report = TrialReport(trial)
    try:
        yield [report]
    except DivergedError as error:
        report.note_pruned(str(error))
        checkpoints.delete()
        raise
    except TrialEndedError:
        checkpoints.delete()
        raise


class TrialReport(TrainerCallback):
    """Evaluates the model at SHARES of the training and reports `eval_accuracy` to the study.

    Ends the run as KILLED and raises TrialEndedError if the trial is pruned or was abandoned by its sweep.
    The stage has to fail: DVC caches the outputs of a successful one, and would reuse a half-trained model
    for these params.
    """

    def __init__(self, trial: Identity) -> None:
        self.trial = trial
        self.storage = open_storage(trial.database)
        self.study = optuna.load_study(
            study_name=trial.study, storage=self.storage, pruner=pruner(trial.startup)
        )
        study_id = self.storage.get_study_id_from_name(trial.study)
        self.trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        self.random_state: torch.Tensor | None = None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        # At the end of an epoch, the Trainer evaluates anyway.
        if share_at(state) and not float(state.epoch or 0).is_integer():
            # Evaluation advances the random generator; it is restored so that the training is unaffected.
            self.random_state = torch.get_rng_state()
            control.should_evaluate = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **context: Any,
    ) -> None:
        if self.random_state is not None:
            torch.set_rng_state(self.random_state)
            self.random_state = None
        if share := share_at(state):
            self.report(share, context["metrics"]["eval_accuracy"])

    def report(self, share: int, accuracy: float) -> None:
        """Report the accuracy after `share` percent of the training to the study."""
        if self.storage.get_trial(self.trial_id).state != TrialState.RUNNING:
            self.end("its sweep abandoned it: the trial runs elsewhere")
        self.storage.set_trial_intermediate_value(self.trial_id, share, accuracy)
        if self.study.pruner.prune(self.study, self.storage.get_trial(self.trial_id)):
            reason = f"accuracy {accuracy:.4f} after {share} % of the training is below the median"
            self.note_pruned(reason)
            self.end(reason)

    def note_pruned(self, reason: str) -> None:
        """Have the sweep count the trial as pruned, and not as failed."""
        self.storage.set_trial_user_attr(self.trial_id, "pruned", reason)

    def end(self, reason: str) -> None:
        mlflow.set_tag("sweep.pruned", reason)
        mlflow.end_run("KILLED")
        raise TrialEndedError(f"trial {self.trial.number} of {self.trial.study} ends early: {reason}")


def share_at(state: TrainerState) -> int:
    """Return the percentage of the training done if this step is one of SHARES, else 0."""
    steps = {int(state.max_steps * share): int(100 * share) for share in SHARES}
    return steps.get(state.global_step, 0)
