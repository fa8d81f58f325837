"""Loading the classifier before fine-tuning, and saving it with its history afterwards."""

import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import (
    DistilBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TrainerState,
    set_seed,
)

from pipelines.core.errors import PipelineError
from pipelines.core.params import Params
from pipelines.modeling.encoders import PACKAGED, last_layer, load_base
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
    if weights := load_file(encoder):
        load_encoder(model, weights, params.train.base)
    return model, tokenizer


def load_encoder(
    model: DistilBertForSequenceClassification, weights: Mapping[str, torch.Tensor], base: str
) -> None:
    """Load the pre-trained weights of all layers but the one that is added to the packaged encoder.

    Raises PipelineError if they are those of another base.
    """
    added = (last_layer(model.config),) if base == PACKAGED else ()
    own = model.distilbert.state_dict()
    shapes = {name: weight.shape for name, weight in own.items() if not name.startswith(added)}
    if other := shapes.items() ^ {(name, weight.shape) for name, weight in weights.items()}:
        raise PipelineError(
            f"the encoder from `pretrain` does not fit train.base {base}: {len(other)} weights are missing, "
            f"unexpected or of another shape, such as {min(other)[0]}. Run `dvc repro train`, which runs "
            "`pretrain` first"
        )
    model.distilbert.load_state_dict({**own, **weights})


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, state: TrainerState, folder: Path
) -> None:
    """Write the model with its tokenizer to `folder`/model, and the history to `folder`/history.csv.

    The Trainer would add its arguments, which contain the path of the checkpoints.
    """
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
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
