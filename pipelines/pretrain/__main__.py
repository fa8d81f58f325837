"""Stage `pretrain`: continue the encoder's pre-training on the training reviews (off by default).

Masked language modelling on the task's own texts (Gururangan et al., 2020, "Don't Stop Pretraining"). It
uses no labels and only the training split. An interrupted training resumes from its last checkpoint.

The code that determines the weights is in `masked_lm/`, `pipelines.modeling` and `pipelines.normalization`.
dvc.yaml tracks only these, so that other edits do not cause retraining.
"""

from pathlib import Path

import pandas as pd

from pipelines import modeling, normalization
from pipelines.core.checkpoints import discard_obsolete, find_checkpoints
from pipelines.core.errors import run_stage
from pipelines.core.params import load_params
from pipelines.modeling.precision import resolve_precision
from pipelines.modeling.trainer import train
from pipelines.pretrain import masked_lm
from pipelines.pretrain.masked_lm.model import load_masked_lm, save_encoder
from pipelines.pretrain.masked_lm.trainer import make_trainer, write_history

TRAIN = Path("results/prepare/train.csv")
OUT = Path("results/pretrain")
CODE = (modeling, normalization, masked_lm)


def main() -> None:
    params = load_params()
    if not params.pretrain.epochs:
        print("pretrain.epochs is 0: the base encoder is used unchanged")
        save_encoder({}, OUT / "encoder.safetensors")
        write_history([], OUT / "history.csv")
        return
    model, tokenizer = load_masked_lm(params.train.base, params.train.seed)
    precision = resolve_precision(params.train.precision)
    identity = {"seed": params.train.seed, "precision": precision, **params.pretrain.model_dump()}
    checkpoints = find_checkpoints(identity, model, [TRAIN], CODE)
    with checkpoints.locked():
        discard_obsolete(checkpoints)
        texts = pd.read_csv(TRAIN, keep_default_na=False)["text"].tolist()
        trainer = make_trainer(params, model, tokenizer, texts, checkpoints.folder)
        state = train(trainer, model, checkpoints, params.train.checkpoint_seconds)
        save_encoder(model.distilbert.state_dict(), OUT / "encoder.safetensors")
        write_history(state.log_history, OUT / "history.csv")
        checkpoints.finish()


if __name__ == "__main__":
    run_stage(main)
