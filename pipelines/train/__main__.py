"""Stage `train`: fine-tune DistilBERT on the training reviews and log the training as an MLflow run.

An interrupted training resumes from its last checkpoint, in the same run.

The code that determines the weights is in the packages of CODE. dvc.yaml tracks only these, so that other
edits do not cause retraining.
"""

import json
from pathlib import Path

import pandas as pd

from pipelines import modeling, normalization, windows
from pipelines.core.checkpoints import discard_obsolete, find_checkpoints
from pipelines.core.errors import run_stage
from pipelines.core.hardware import hardware
from pipelines.core.mlflow_store import connect
from pipelines.core.params import load_params
from pipelines.core.wheels import sha256
from pipelines.experiments.trial_identity import trial_tags
from pipelines.lineage.kept_files import keep, note_changes
from pipelines.lineage.tags import snapshot
from pipelines.modeling.precision import resolve_precision
from pipelines.modeling.trainer import train
from pipelines.train import fine_tuning
from pipelines.train.fine_tuning.early_stopping import take_best
from pipelines.train.fine_tuning.model import load_classifier, save
from pipelines.train.fine_tuning.trainer import make_trainer
from pipelines.train.metric_outbox import MetricOutbox
from pipelines.train.run import begin, log_inputs
from pipelines.train.sweep_trial import trial_callbacks

TRAIN = Path("results/prepare/train.csv")
VALIDATION = Path("results/prepare/validation.csv")
ENCODER = Path("results/pretrain/encoder.safetensors")
OUT = Path("results/train")
CODE = (modeling, normalization, windows, fine_tuning)


def main() -> None:
    params = load_params()
    reviews = pd.read_csv(TRAIN, keep_default_na=False), pd.read_csv(VALIDATION, keep_default_na=False)
    model, tokenizer = load_classifier(params, ENCODER)
    precision = resolve_precision(params.train.precision)
    identity = params.train.model_dump(exclude={"checkpoint_seconds"}) | {"precision": precision}
    checkpoints = find_checkpoints(identity, model, [TRAIN, VALIDATION], CODE)
    before = snapshot()
    # Accuracies are comparable only on the same validation reviews.
    tags = before.tags | {"split_sha256": sha256(VALIDATION), "precision": precision}
    tags |= hardware() | trial_tags()
    client = connect()
    with checkpoints.locked():
        discard_obsolete(checkpoints)
        with begin(client, checkpoints, tags, params) as run, trial_callbacks(checkpoints) as callbacks:
            keep(before)
            log_inputs(params, *reviews, tags["data_md5"])
            outbox = MetricOutbox(client, run.info.run_id)
            trainer = make_trainer(
                params, model, tokenizer, reviews, checkpoints.folder, [outbox, *callbacks]
            )
            state = train(trainer, model, checkpoints, params.train.checkpoint_seconds)
            outbox.finish(state)
            take_best(model, checkpoints.folder)
            save(model, tokenizer, state, OUT)
            # The run id is an output, so that results restored from DVC's cache still name their run.
            (OUT / "run.json").write_text(json.dumps({"run_id": run.info.run_id}) + "\n")
            note_changes(before)
        checkpoints.finish()


if __name__ == "__main__":
    run_stage(main)
