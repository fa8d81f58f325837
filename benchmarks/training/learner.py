"""One contender in a process of its own: `python -m benchmarks.training.learner NAME --folder FOLDER`.

It stops itself after its first steps, and again whenever the benchmark says so with SIGSTOP. Leaves
progress.jsonl, a line a step, and right.npy: which validation reviews the trained model labels right.
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
WARM_UP = 3
"""Steps before the clock runs: the first ones choose kernels and fill caches."""


class Progress(TrainerCallback):
    """Writes a line a step: when (seconds, the same clock in all processes), tokens so far, the last loss."""

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
        if state.global_step == WARM_UP:
            os.kill(os.getpid(), signal.SIGSTOP)


def right(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, reviews: pd.DataFrame, max_tokens: int
) -> npt.NDArray[np.bool_]:
    """[reviews]: whether the first `max_tokens` tokens of each are labelled right, by fp32."""
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
    answer: npt.NDArray[np.bool_] = predicted == labels
    return answer


def learn(name: str, folder: Path, count: int | None) -> Trainer:
    """Train on `count` of the training reviews, or on all."""
    params = load_params()
    set_seed(params.seed)
    reviews = pd.read_csv(PREPARED / "train.csv", keep_default_na=False)
    if count:
        reviews = reviews.sample(min(count, len(reviews)), random_state=params.seed)
    with (folder / "progress.jsonl").open("w") as file:
        trainer = CONTENDERS[name](params, reviews, Progress(file), folder / "scratch")
        trainer.train()
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--reviews", type=int)
    options = parser.parse_args()
    use_all_cores()
    trainer = learn(options.name, options.folder, options.reviews)
    assert isinstance(trainer.model, torch.nn.Module)
    assert isinstance(trainer.processing_class, PreTrainedTokenizerBase)
    validation = pd.read_csv(PREPARED / "validation.csv", keep_default_na=False)
    max_tokens = load_params().train.max_tokens
    np.save(
        options.folder / "right.npy", right(trainer.model, trainer.processing_class, validation, max_tokens)
    )


if __name__ == "__main__":
    main()
