"""The training shared by `pretrain` and `train`: batches by length, resumed from checkpoints."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, TrainerState, TrainingArguments

from pipelines.core.checkpoints import Checkpoints, final_state
from pipelines.core.params import Precision
from pipelines.modeling.length_batches import LengthBatches
from pipelines.modeling.precision import resolve_precision

LOG_EVERY = 20  # steps


class BatchTrainer(Trainer):
    """A Trainer that takes its training batches from `batches`."""

    def __init__(self, *, batches: LengthBatches, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches = batches

    def get_train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        loader: DataLoader[dict[str, torch.Tensor]] = DataLoader(
            self._remove_unused_columns(self.train_dataset),
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]  # accelerate is untyped


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
        report_to="none",
        **specific,
    )


def train(trainer: Trainer, model: PreTrainedModel, checkpoints: Checkpoints) -> TrainerState:
    """Train `model`, resuming from the newest checkpoint if one exists; return the final state."""
    newest = checkpoints.to_resume_from()
    if newest and (state := final_state(newest)):
        model.load_state_dict(type(model).from_pretrained(newest).state_dict())
        return state
    with checkpoints.disk_space_for(model):
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    return trainer.state
