"""Stage `train`: fine-tunes DistilBERT on the training reviews, in an MLflow run of its own."""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from datasets import Dataset
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.pandas_dataset import from_pandas
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from pipelines.base import LABELS, load_minilm
from pipelines.errors import run_stage
from pipelines.lineage import lineage
from pipelines.params import Params, load_params
from pipelines.tracking import connect

PREPARED = Path("results/prepare")
OUT = Path("results/train")


class LogToRun(TrainerCallback):
    """Sends what the Trainer logs to the run that is open.

    transformers' own MLflowCallback would add its 150 arguments to our params, which then can no longer
    be compared at a glance.
    """

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        mlflow.log_metrics({name: float(value) for name, value in (logs or {}).items()}, state.global_step)


def tokenize(reviews: pd.DataFrame, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Dataset:
    """Columns input_ids, attention_mask, labels and length (tokens); longer texts are cut."""
    encoded = tokenizer(reviews["text"].tolist(), truncation=True, max_length=max_tokens)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    return Dataset.from_dict({**encoded, "labels": reviews["label"].tolist(), "length": lengths})


def arguments(params: Params) -> TrainingArguments:
    """How the Trainer is to run: what params.yaml says, batches of like lengths, no files but the result."""
    train = params.train
    return TrainingArguments(
        output_dir=str(OUT / "checkpoints"),
        num_train_epochs=train.epochs,
        learning_rate=train.learning_rate,
        warmup_steps=train.warmup,
        per_device_train_batch_size=train.batch_size,
        per_device_eval_batch_size=64,
        weight_decay=train.weight_decay,
        optim="adamw_torch_fused",
        label_smoothing_factor=train.label_smoothing,
        seed=params.seed,
        data_seed=params.seed,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=20,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def fine_tune(params: Params, train: pd.DataFrame, validation: pd.DataFrame) -> Trainer:
    """The trained model and its history, inside the open run."""
    set_seed(params.seed)
    model, tokenizer = load_minilm(params.train.dropout)
    if params.train.freeze_embeddings:
        model.distilbert.embeddings.word_embeddings.requires_grad_(False)
    trainer = Trainer(
        model=model,
        args=arguments(params),
        train_dataset=tokenize(train, tokenizer, params.train.max_tokens),
        eval_dataset=tokenize(validation, tokenizer, params.train.max_tokens),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[LogToRun()],
    )
    trainer.train()
    return trainer


def flatten(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Params by dotted names, as `dvc exp run -S` takes them."""
    flat: dict[str, Any] = {}
    for name, value in section.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def log_inputs(params: Params, train: pd.DataFrame, validation: pd.DataFrame, data_md5: str) -> None:
    """Params by the names of params.yaml, and both datasets with their digests."""
    mlflow.log_params(flatten(params.model_dump()))
    source = CodeDatasetSource(tags={"data.dvc": data_md5})
    for name, table in (("training", train), ("validation", validation)):
        # As text: MLflow warns of whole numbers, which could not be missing. Ours never are.
        labelled = table.assign(label=table["label"].map(dict(enumerate(LABELS))))
        dataset = from_pandas(labelled, source=source, targets="label", name=f"reviews-{name}")
        mlflow.log_input(dataset, context=name)


def write_history(trainer: Trainer, path: Path) -> None:
    """One row per logged step: step, training loss or nothing, validation loss or nothing."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss", "validation_loss"])
        for entry in trainer.state.log_history:
            if "loss" in entry or "eval_loss" in entry:
                writer.writerow([entry["step"], entry.get("loss", ""), entry.get("eval_loss", "")])


def main() -> None:
    params = load_params()
    train = pd.read_csv(PREPARED / "train.csv", keep_default_na=False)
    validation = pd.read_csv(PREPARED / "validation.csv", keep_default_na=False)
    tags = lineage(PREPARED / "validation.csv")
    connect()
    with mlflow.start_run(tags=tags) as run:
        log_inputs(params, train, validation, tags["data_md5"])
        trainer = fine_tune(params, train, validation)
        OUT.mkdir(parents=True, exist_ok=True)
        trainer.save_model(str(OUT / "model"))
        write_history(trainer, OUT / "history.csv")
        # The id is an output, so that a result which DVC restores from its cache still names its run.
        (OUT / "run.json").write_text(json.dumps({"run_id": run.info.run_id}) + "\n")


if __name__ == "__main__":
    # The model comes from a wheel; without this, transformers asks the hub about it on the way.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    run_stage(main)
