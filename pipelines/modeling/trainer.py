"""The training shared by `pretrain` and `train`: batches by length, resumed from checkpoints."""

import math
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, TrainerState, TrainingArguments
from transformers.trainer_utils import TrainOutput

from pipelines.core.checkpoints import Checkpoints, PeriodicSave, final_state
from pipelines.core.errors import PipelineError
from pipelines.core.params import Precision
from pipelines.core.spinning import no_spinning_beside_others
from pipelines.modeling.length_batches import LengthBatches
from pipelines.modeling.precision import resolve_precision

LOG_EVERY = 20  # steps


class DivergedError(PipelineError):
    """The loss or its gradient is no longer finite."""


class BatchTrainer(Trainer):
    """A Trainer that takes its training batches from `batches`, and stops at a gradient that is not finite.

    `section` is the stage's section of params.yaml, which the error names.
    """

    def __init__(self, *, batches: LengthBatches, section: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches = batches
        self.section = section

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        with no_spinning_beside_others():
            return super().train(*args, **kwargs)

    def get_train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        loader: DataLoader[dict[str, torch.Tensor]] = DataLoader(
            self._remove_unused_columns(self.train_dataset),
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]  # accelerate is untyped

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: float | torch.Tensor | None = None) -> float:
        """Return the norm of the gradient before clipping. Raises DivergedError if it is not finite.

        The Trainer calls this at each step, before the optimizer changes the weights. A loss that is not
        finite has no finite gradient either.
        """
        norm = float(super()._get_grad_norm(model, grad_norm))  # type: ignore[no-untyped-call]
        if not math.isfinite(norm):
            step, rate = self.state.global_step + 1, self._get_learning_rate()
            raise DivergedError(
                f"the training diverged: the gradient of step {step} is not finite, at a learning rate of "
                f"{rate:g}. Lower {self.section}.learning_rate, raise {self.section}.warmup, or set "
                f"train.precision to fp32. The last checkpoint, if any, is in {self.args.output_dir}"
            )
        return norm


def arguments(folder: Path, seed: int, precision: Precision, **specific: Any) -> TrainingArguments:
    """Return the common arguments and the stage's `specific` ones, with checkpoints in `folder`.

    The Trainer's own saving is off: `checkpoints.PeriodicSave` decides when to save.
    """
    return TrainingArguments(
        output_dir=str(folder),
        seed=seed,
        data_seed=seed,
        bf16=resolve_precision(precision) == "bf16",
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        save_strategy="no",
        logging_steps=LOG_EVERY,
        include_num_input_tokens_seen="non_padding",
        logging_nan_inf_filter=False,  # it would log another loss instead of NaN; see `BatchTrainer`
        report_to="none",
        **specific,
    )


def train(
    trainer: BatchTrainer, model: PreTrainedModel, checkpoints: Checkpoints, seconds: float
) -> TrainerState:
    """Train `model`, saving a checkpoint every `seconds`; return the final state.

    An interrupted training resumes from its newest checkpoint, and a finished one is restored from its last.
    """
    newest = checkpoints.keep_newest()
    if newest and (state := final_state(newest)):
        print(f"already trained: restoring {newest.name}")
        model.load_state_dict(type(model).from_pretrained(newest).state_dict())
        return state
    if newest:
        print(f"resuming from {newest.name}")
    trainer.add_callback(PeriodicSave(trainer, checkpoints, seconds))
    with checkpoints.disk_space_for(model):
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    return trainer.state
