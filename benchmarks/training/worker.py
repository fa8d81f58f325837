"""Train one contender in its own process, which stops itself with SIGSTOP after the warm-up steps.

Writes progress.jsonl with a line for each step, and correct.npy, which tells for each validation review
whether the trained model classifies it correctly.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from benchmarks.training.contenders import CONTENDERS
from pipelines.core.params import load_params
from pipelines.modeling.precision import use_all_cores

PREPARED = Path("results/prepare")
WARM_UP_STEPS = 3
"""The first steps are slower, since they choose kernels and fill caches. They are not measured."""


class Progress(TrainerCallback):
    """Writes a line for each step: monotonic time in seconds, tokens so far without padding, last loss."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.loss: float | None = None

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self.loss = state.log_history[-1].get("loss", self.loss)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        line = {"time": time.monotonic(), "tokens": int(state.num_input_tokens_seen), "loss": self.loss}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if state.global_step == WARM_UP_STEPS:
            os.kill(os.getpid(), signal.SIGSTOP)


def classified_correctly(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, reviews: pd.DataFrame, max_tokens: int
) -> npt.NDArray[np.bool_]:
    """Return for each review, truncated to `max_tokens`, whether the fp32 model predicts its label."""
    model.eval()
    order = reviews["text"].str.len().argsort().to_numpy()
    predicted = np.empty(len(reviews), dtype=np.int64)
    with torch.inference_mode():
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            texts = reviews["text"].iloc[rows].tolist()
            inputs = tokenizer(
                texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
            )
            logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
            predicted[rows] = logits.argmax(dim=1).numpy()
    labels: npt.NDArray[np.int64] = reviews["label"].to_numpy()
    correct: npt.NDArray[np.bool_] = predicted == labels
    return correct


def train(name: str, folder: Path, count: int | None, seed: int) -> Trainer:
    """Train on a random sample of `count` reviews, or on all of them."""
    params = load_params()
    params = params.model_copy(update={"train": params.train.model_copy(update={"seed": seed})})
    set_seed(seed)
    reviews = pd.read_csv(PREPARED / "train.csv", keep_default_na=False)
    if count:
        reviews = reviews.sample(min(count, len(reviews)), random_state=seed)
    with (folder / "progress.jsonl").open("w") as file:
        trainer = CONTENDERS[name](params, reviews, Progress(file), folder / "scratch")
        trainer.train()
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.worker", description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--reviews", type=int)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    use_all_cores()
    trainer = train(options.name, options.folder, options.reviews, options.seed)
    assert isinstance(trainer.model, torch.nn.Module)
    assert isinstance(trainer.processing_class, PreTrainedTokenizerBase)
    validation = pd.read_csv(PREPARED / "validation.csv", keep_default_na=False)
    max_tokens = load_params().train.max_tokens
    correct = classified_correctly(trainer.model, trainer.processing_class, validation, max_tokens)
    np.save(options.folder / "correct.npy", correct)


if __name__ == "__main__":
    main()
