"""Stage `train`: fine-tunes DistilBERT on the training reviews, in an MLflow run of its own.

If it is killed, the same command resumes from the last checkpoint, in the same run.

The weights follow from `fine_tuning/` and `pipelines.modeling` alone, which are what dvc.yaml tracks: a
message edited here costs nobody a training.
"""

import json
from pathlib import Path

import pandas as pd

from pipelines import modeling
from pipelines.core import checkpoints
from pipelines.core.checkpoints import PeriodicSave
from pipelines.core.errors import run_stage
from pipelines.core.mlflow_store import connect
from pipelines.core.params import load_params
from pipelines.lineage.kept_files import keep, note_changes
from pipelines.lineage.tags import lineage
from pipelines.modeling.precision import processor, resolve_precision
from pipelines.modeling.trainer import train
from pipelines.train import fine_tuning
from pipelines.train.fine_tuning.model import load_classifier, save
from pipelines.train.fine_tuning.trainer import make_trainer
from pipelines.train.metric_outbox import MetricOutbox
from pipelines.train.run import begin, log_inputs
from pipelines.train.sweep_trial import trial_callbacks, trial_tags

TRAIN = Path("results/prepare/train.csv")
VALIDATION = Path("results/prepare/validation.csv")
ENCODER = Path("results/pretrain/encoder.safetensors")
OUT = Path("results/train")
CODE = (modeling, fine_tuning)


def main() -> None:
    params = load_params()
    reviews = pd.read_csv(TRAIN, keep_default_na=False), pd.read_csv(VALIDATION, keep_default_na=False)
    model, tokenizer = load_classifier(params, ENCODER)
    precision = resolve_precision(params.train.precision)
    identity = params.train.model_dump(exclude={"checkpoint_seconds"}) | {"precision": precision}
    kept = checkpoints.find({"seed": params.seed, **identity}, model, [TRAIN, VALIDATION], CODE)
    tags = lineage(VALIDATION) | trial_tags() | {"precision": precision, "processor": processor()}
    client = connect()
    with kept.locked():
        with begin(kept, tags) as run:
            keep(tags)
            log_inputs(params, *reviews, tags["data_md5"])
            outbox = MetricOutbox(client, run.info.run_id)
            callbacks = [outbox, PeriodicSave(kept, params.train.checkpoint_seconds), *trial_callbacks()]
            trainer = make_trainer(params, model, tokenizer, reviews, kept.folder, callbacks)
            state = train(trainer, model, kept)
            outbox.finish(state)
            save(trainer, state, OUT)
            # The id is an output, so that a result which DVC restores from its cache still names its run.
            (OUT / "run.json").write_text(json.dumps({"run_id": run.info.run_id}) + "\n")
            note_changes(tags)
        kept.delete()


if __name__ == "__main__":
    run_stage(main)
