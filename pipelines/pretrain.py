"""Stage `pretrain`: the encoder goes on learning to fill gaps in texts, those of the training reviews.

What a classifier is to read is read before it is asked to judge (Gururangan et al., 2020, "Don't Stop
Pretraining"). No label is looked at, and no review outside the training fold.

Killed and started again it goes on from its last checkpoint.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast, set_seed

from pipelines import checkpoints
from pipelines.batches import LengthBatches
from pipelines.checkpoints import Checkpoints, SaveInTime
from pipelines.errors import run_stage
from pipelines.gaps import GapReader, GapTrainer, load_gap_reader
from pipelines.params import Params, load_params
from pipelines.precision import resolve_precision, use_all_cores
from pipelines.trainer import arguments, train

TRAIN = Path("results/prepare/train.csv")
OUT = Path("results/pretrain")
DROPOUT = 0.1


def pieces(texts: list[str], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Dataset:
    """Columns input_ids and attention_mask: all of every text, a long one in pieces of like length."""
    rows: list[list[int]] = []
    for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
        count = -(-len(ids) // (max_tokens - 2))
        for piece in np.array_split(ids, count) if count else []:
            rows.append([tokenizer.cls_token_id, *piece.tolist(), tokenizer.sep_token_id])
    return Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})


def make_trainer(
    params: Params, model: GapReader, tokenizer: PreTrainedTokenizerFast, texts: list[str], kept: Checkpoints
) -> GapTrainer:
    chosen = params.pretrain
    data = pieces(texts, tokenizer, chosen.max_tokens)
    lengths = [len(ids) for ids in data["input_ids"]]
    return GapTrainer(
        tokenizer=tokenizer,
        hidden=chosen.hidden,
        batches=LengthBatches(lengths, len(lengths), chosen.batch_tokens, params.seed),
        model=model,
        args=arguments(
            kept.folder,
            params.seed,
            params.train.precision,
            num_train_epochs=chosen.epochs,
            learning_rate=chosen.learning_rate,
            warmup_steps=chosen.warmup,
            weight_decay=chosen.weight_decay,
        ),
        train_dataset=data,
        callbacks=[SaveInTime(kept, params.train.checkpoint_seconds)],
    )


def write(encoder: dict[str, torch.Tensor], history: list[dict[str, float]]) -> None:
    """What was learnt, which is nothing where no step was made, and how."""
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(encoder, OUT / "encoder.safetensors")
    with (OUT / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss"])
        writer.writerows([entry["step"], entry["loss"]] for entry in history if "loss" in entry)


def main() -> None:
    params = load_params()
    if not params.pretrain.epochs:
        print("pretrain.epochs is 0: the encoder stays as it came")
        write({}, [])
        return
    use_all_cores()
    texts = pd.read_csv(TRAIN, keep_default_na=False)["text"].tolist()
    set_seed(params.seed)
    model, tokenizer = load_gap_reader(params.train.base, DROPOUT)
    precision = resolve_precision(params.train.precision)
    identity = {"seed": params.seed, "precision": precision, **params.pretrain.model_dump()}
    kept = checkpoints.find(identity, model, [TRAIN, Path(__file__)])
    with kept.locked():
        trainer = make_trainer(params, model, tokenizer, texts, kept)
        state = train(trainer, model, kept)
        write(model.distilbert.state_dict(), state.log_history)
        kept.delete()


if __name__ == "__main__":
    run_stage(main)
