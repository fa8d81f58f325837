"""Loading the classifier before fine-tuning, and saving it with its history afterwards."""

import csv
from pathlib import Path

from safetensors.torch import load_file
from transformers import (
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerState,
    set_seed,
)

from pipelines.core.params import Params
from pipelines.modeling.encoders import load_base
from pipelines.modeling.precision import use_all_cores


def load_classifier(
    params: Params, encoder: Path
) -> tuple[DistilBertForSequenceClassification, PreTrainedTokenizerFast]:
    """Seed all random generators, then load the base with a new head and the encoder from `pretrain`.

    Raises PipelineError if the base cannot be loaded.
    """
    use_all_cores()
    set_seed(params.train.seed)
    model, tokenizer = load_base(params.train.base, params.train.dropout)
    model.distilbert.load_state_dict(load_file(encoder), strict=False)
    return model, tokenizer


def save(trainer: Trainer, state: TrainerState, folder: Path) -> None:
    """Write the model with its tokenizer to `folder`/model, and the history to `folder`/history.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer.save_model(str(folder / "model"))
    write_history(state, folder / "history.csv")


def write_history(state: TrainerState, path: Path) -> None:
    """Write one row per logged step: step, training loss, validation loss and accuracy (empty if unknown)."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss", "validation_loss", "validation_accuracy"])
        for entry in state.log_history:
            if "loss" in entry or "eval_loss" in entry:
                figures = [entry.get(name, "") for name in ("loss", "eval_loss", "eval_accuracy")]
                writer.writerow([entry["step"], *figures])
