"""Stage `export`: calibrate and convert the trained model for serving, and log both forms to its run."""

import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import nncf
import pandas as pd
import torch
import transformers
from transformers import DistilBertForSequenceClassification

from pipelines.core.checkpoints import discard_obsolete
from pipelines.core.errors import run_stage
from pipelines.core.hub import go_offline
from pipelines.core.mlflow_store import connect, resume
from pipelines.core.params import Params, load_params, logged_params
from pipelines.core.wheels import sha256
from pipelines.export.logged_model import SERVED, TRAINED, log_model, weights_sha256
from pipelines.export.openvino_ir import convert, divide_logits, quantize, write
from pipelines.lineage.kept_files import renew
from pipelines.served_form.classifier import Classifier
from pipelines.served_form.known_words import write_known_words
from pipelines.statistics.calibration import fit_temperature

TRAINING_REVIEWS = Path("results/prepare/train.csv")
CALIBRATION_REVIEWS = Path("results/prepare/calibration.csv")
REFERENCE = Path("results/export/reference")
MODEL = Path("results/export/model.json")


def fitted_temperature(served: Path) -> float:
    """Fit a temperature on the calibration reviews, which the form in `served` reads as in serving."""
    reviews = pd.read_csv(CALIBRATION_REVIEWS, keep_default_na=False)
    classifier = Classifier(served)
    logits = classifier.logits(reviews["text"].tolist())
    return fit_temperature(logits, reviews["label"].to_numpy(), classifier.positive)


def export(model: DistilBertForSequenceClassification, params: Params) -> float:
    """Calibrate the model, and write its fp32 reference and its served form; return the temperature.

    `export.precision` is the precision of the served form. The temperature is fitted on that form, and
    divides the logits of all three, so every consumer gets calibrated probabilities. Quantization does not
    depend on it, because the logits are fp32. serving.json contains it too.
    """
    tokenizer_json = (TRAINED / "model" / "tokenizer.json").read_text()
    serving: dict[str, object] = {
        "labels": list((model.config.id2label or {}).values()),
        "max_tokens": params.train.max_tokens,
        "windows": params.export.windows,
    }
    reviews = pd.read_csv(TRAINING_REVIEWS, keep_default_na=False)["text"]
    with TemporaryDirectory(prefix="export-") as scratch:
        reference = served = Path(scratch, "reference")
        write(convert(model), reference, tokenizer_json, serving)
        if params.export.precision == "int8":
            served = Path(scratch, "served")
            count = min(params.export.calibration_reviews, len(reviews))
            sample = reviews.sample(count, random_state=params.prepare.seed).tolist()
            write(quantize(reference, sample), served, tokenizer_json, serving)
        serving["temperature"] = temperature = fitted_temperature(served)
        write(divide_logits(reference, temperature), REFERENCE, tokenizer_json, serving)
        write(divide_logits(served, temperature), SERVED, tokenizer_json, serving)
    write_known_words(SERVED, reviews.tolist())
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.div_(temperature)
    return temperature


def exported(params: Params) -> dict[str, str]:
    """Return the params that decide the exported model, under their names in params.yaml."""
    return {
        name: value
        for name, value in logged_params(params).items()
        if name.startswith("export.") or name == "train.max_tokens"
    }


def silence_warnings() -> None:
    """Suppress the libraries' warnings about models that do not come from the hub."""
    logging.getLogger("mlflow.transformers").setLevel(logging.ERROR)
    transformers.logging.set_verbosity(logging.ERROR)
    nncf.set_log_level(logging.ERROR)


def main() -> None:
    silence_warnings()
    # MLflow looks for a model's card on the hub, which does not have this model.
    go_offline()
    discard_obsolete()
    params = load_params()
    run_id = json.loads((TRAINED / "run.json").read_text())["run_id"]
    model = DistilBertForSequenceClassification.from_pretrained(TRAINED / "model")
    temperature = export(model, params)
    client = connect()
    with resume(run_id) as run:
        renew(run)
        mlflow.log_metric("temperature", temperature)
        hashes = {"weights_sha256": sha256(SERVED / "model.bin"), "trained_sha256": weights_sha256(model)}
        mlflow.set_tags(hashes)
        model_id = log_model(client.get_run(run_id), model, exported(params), hashes)
    # The model's id is an output, so that results restored from DVC's cache still name their model.
    MODEL.write_text(json.dumps({"model_id": model_id}) + "\n")


if __name__ == "__main__":
    run_stage(main)
