"""Stage `train`: fine-tunes DistilBERT on the training reviews, in an MLflow run of its own.

Killed and started again it goes on from its last checkpoint, in the same run.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.pandas_dataset import from_pandas
from mlflow.exceptions import MlflowException
from safetensors.torch import load_file
from transformers import TrainerState, set_seed

from pipelines import checkpoints
from pipelines.base import LABELS, load_base
from pipelines.checkpoints import Checkpoints, SaveInTime
from pipelines.errors import run_stage
from pipelines.lineage import lineage
from pipelines.params import Params, load_params
from pipelines.precision import resolve_precision, use_all_cores
from pipelines.run_log import RunLog
from pipelines.snapshot import keep, note_changes
from pipelines.tracking import connect
from pipelines.trainer import train
from pipelines.training import ReviewTrainer, make_trainer
from pipelines.trial import trial_callbacks, trial_tags

TRAIN = Path("results/prepare/train.csv")
VALIDATION = Path("results/prepare/validation.csv")
ENCODER = Path("results/pretrain/encoder.safetensors")
OUT = Path("results/train")


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


def begin(kept: Checkpoints, tags: Mapping[str, str]) -> mlflow.ActiveRun:
    """The run of this training: the one that a process which did not end began, or a new one."""
    if kept.run_id:
        try:
            run = mlflow.start_run(run_id=kept.run_id)
            mlflow.set_tags(dict(tags))
            return run
        except MlflowException:
            print(f"run {kept.run_id} is no longer in MLflow: training goes on in a new one")
    run = mlflow.start_run(tags=dict(tags))
    kept.belong_to(run.info.run_id)
    return run


def write_history(state: TrainerState, path: Path) -> None:
    """One row per logged step: step, training loss or nothing, validation loss and accuracy or nothing."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss", "validation_loss", "validation_accuracy"])
        for entry in state.log_history:
            if "loss" in entry or "eval_loss" in entry:
                figures = [entry.get(name, "") for name in ("loss", "eval_loss", "eval_accuracy")]
                writer.writerow([entry["step"], *figures])


def write(trainer: ReviewTrainer, state: TrainerState, run_id: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    trainer.save_model(str(OUT / "model"))
    write_history(state, OUT / "history.csv")
    # The id is an output, so that a result which DVC restores from its cache still names its run.
    (OUT / "run.json").write_text(json.dumps({"run_id": run_id}) + "\n")


def main() -> None:
    use_all_cores()
    params = load_params()
    reviews = pd.read_csv(TRAIN, keep_default_na=False), pd.read_csv(VALIDATION, keep_default_na=False)
    set_seed(params.seed)
    model, tokenizer = load_base(params.train.base, params.train.dropout)
    model.distilbert.load_state_dict(load_file(ENCODER), strict=False)
    precision = resolve_precision(params.train.precision)
    identity = params.train.model_dump(exclude={"checkpoint_seconds"}) | {"precision": precision}
    kept = checkpoints.find({"seed": params.seed, **identity}, model, [TRAIN, VALIDATION, Path(__file__)])
    processor = str(torch.cpu.get_capabilities()["cpu_name"])
    tags = lineage(VALIDATION) | trial_tags() | {"precision": precision, "processor": processor}
    client = connect()
    with kept.locked():
        with begin(kept, tags) as run:
            keep(tags)
            log_inputs(params, *reviews, tags["data_md5"])
            log = RunLog(client, run.info.run_id)
            callbacks = [log, SaveInTime(kept, params.train.checkpoint_seconds), *trial_callbacks()]
            trainer = make_trainer(params, model, tokenizer, reviews, kept.folder, callbacks)
            state = train(trainer, model, kept)
            log.finish(state)
            write(trainer, state, run.info.run_id)
            note_changes(tags)
        kept.delete()


if __name__ == "__main__":
    run_stage(main)
