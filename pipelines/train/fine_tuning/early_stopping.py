"""Stopping when the validation accuracy no longer rises, with the weights of the best epoch.

transformers' EarlyStoppingCallback needs the Trainer's own checkpoints, which are off here.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

BEST = "best.safetensors"


class EarlyStopping(TrainerCallback):
    """Saves the best epoch's weights beside the checkpoints; stops after `patience` epochs without a better.

    The decision follows from the logged history, which checkpoints contain, so a resumed training stops at
    the same epoch.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **context: Any
    ) -> None:
        accuracies = {
            entry["step"]: entry["eval_accuracy"]
            for entry in state.log_history
            if "eval_accuracy" in entry and ends_epoch(entry["step"], entry["epoch"], state)
        }
        if state.global_step not in accuracies:
            return  # a sweep evaluates within an epoch, too
        best = max(accuracies, key=lambda step: (accuracies[step], -step))
        later = sum(step > best for step in accuracies)
        if not later:
            save_best(context["model"], Path(args.output_dir or ""))
        control.should_training_stop |= later >= self.patience


def ends_epoch(step: float, epoch: float, state: TrainerState) -> bool:
    return float(epoch).is_integer() or step == state.max_steps


def save_best(model: torch.nn.Module, folder: Path) -> None:
    """Write the weights, replacing the file atomically."""
    scratch = folder / f"{BEST}.new"
    save_file(model.state_dict(), scratch)
    scratch.replace(folder / BEST)


def take_best(model: torch.nn.Module, folder: Path) -> None:
    """Load the weights of the best epoch into the model, if the training saved them in `folder`."""
    if (folder / BEST).exists():
        model.load_state_dict(load_file(folder / BEST))
