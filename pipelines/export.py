"""Stage `export`: the trained model in the form that is served, and both forms logged to its run."""

import json
import logging
import os
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import nncf
import openvino
import pandas as pd
import torch
import transformers
from mlflow.models import infer_signature
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # not in its __all__
from transformers import AutoTokenizer, DistilBertForSequenceClassification

from pipelines.assets import sha256
from pipelines.calibration import fit_temperature
from pipelines.errors import run_stage
from pipelines.first_token import read_first_token
from pipelines.params import Params, load_params
from pipelines.serving import Classifier, inputs, windows
from pipelines.snapshot import renew
from pipelines.tracking import connect, resume

TRAINED = Path("results/train")
TRAINING_REVIEWS = Path("results/prepare/train.csv")
CALIBRATION_REVIEWS = Path("results/prepare/calibration.csv")
SERVED = Path("results/export/serving")
REFERENCE = Path("results/export/reference")


class Logits(torch.nn.Module):
    """The classifier with a tuple-free, keyword-free signature, which is what tracing wants."""

    def __init__(self, model: DistilBertForSequenceClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def convert(model: DistilBertForSequenceClassification) -> openvino.Model:
    """The model as OpenVINO IR with free batch and token axes; its last layer reads its first token only."""
    example = torch.ones(2, 8, dtype=torch.int64)
    read_first_token(model)
    traced = Logits(model).train(False)
    with warnings.catch_warnings():
        # Tracing remarks on branches over shapes; the exported model is compared with this one in the tests.
        warnings.simplefilter("ignore", TracerWarning)
        converted = openvino.convert_model(
            traced, example_input={"input_ids": example, "attention_mask": example}
        )
    converted.reshape({name: [-1, -1] for name in ("input_ids", "attention_mask")})
    return converted


def quantize(reference: Path, texts: Sequence[str]) -> openvino.Model:
    """The IR in `reference` with int8 weights and activations, their ranges measured on `texts`."""
    samples = [inputs([window], len(window)) for own in windows(reference, texts) for window in own]
    return nncf.quantize(
        openvino.Core().read_model(reference / "model.xml"),
        nncf.Dataset(samples),
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER,
    )


def write(model: openvino.Model, folder: Path, tokenizer_json: str, serving: dict[str, object]) -> None:
    """Write the four files of `pipelines.serving`."""
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    (folder / "tokenizer.json").write_text(tokenizer_json)
    (folder / "serving.json").write_text(json.dumps(serving) + "\n")


def calibrate(model: DistilBertForSequenceClassification, reference: Path) -> float:
    """Divide the model's logits by the temperature that suits reviews it was not trained on, and return it.

    `reference` is the exported model: the temperature is fitted on answers as they are served. It goes into
    the head's weights, so that whoever reads the model gets calibrated answers.
    """
    reviews = pd.read_csv(CALIBRATION_REVIEWS, keep_default_na=False)
    exported = Classifier(reference)
    labels = reviews["label"].to_numpy()
    temperature = fit_temperature(exported.logits(reviews["text"].tolist()), labels, exported.positive)
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.div_(temperature)
    return temperature


def export(model: DistilBertForSequenceClassification, params: Params) -> float:
    """Calibrate the model; write the reference, fp32, and the served form as params.yaml wants it.

    Returns the temperature, which is in serving.json as well.
    """
    tokenizer_json = (TRAINED / "model" / "tokenizer.json").read_text()
    labels = list((model.config.id2label or {}).values())
    serving: dict[str, object] = {
        "labels": labels,
        "max_tokens": params.train.max_tokens,
        "windows": params.export.windows,
    }
    write(convert(model), REFERENCE, tokenizer_json, serving)
    serving["temperature"] = temperature = calibrate(model, REFERENCE)
    served = reference = convert(model)
    write(reference, REFERENCE, tokenizer_json, serving)
    if params.export.precision == "int8":
        reviews = pd.read_csv(TRAINING_REVIEWS, keep_default_na=False)
        count = min(params.export.calibration_reviews, len(reviews))
        served = quantize(REFERENCE, reviews["text"].sample(count, random_state=params.seed).tolist())
    write(served, SERVED, tokenizer_json, serving)
    return temperature


def weights_sha256(model: DistilBertForSequenceClassification) -> str:
    """Of the file that the model is saved to."""
    with TemporaryDirectory() as aside:
        model.save_pretrained(aside)
        return sha256(Path(aside, "model.safetensors"))


def log_model(run_id: str, model: DistilBertForSequenceClassification, max_tokens: int) -> None:
    """Log the run's model: transformers and pyfunc flavours, with the served files under serving/.

    The served files go first: the model turns READY when the flavours are in, and is then complete.
    """
    logged = mlflow.initialize_logged_model(name="sentiment", source_run_id=run_id)
    mlflow.MlflowClient().log_model_artifacts(logged.model_id, str(SERVED), artifact_path="serving")
    mlflow.transformers.log_model(
        {"model": model, "tokenizer": AutoTokenizer.from_pretrained(TRAINED / "model")},
        task="text-classification",
        # pyfunc reads the first window of a text; without this one past 512 tokens would be an error.
        model_config={"truncation": True, "max_length": max_tokens},
        model_id=logged.model_id,
        signature=infer_signature(["A fine film."], [{"label": "positive", "score": 0.99}]),
        # Named, because MLflow would otherwise look for them by running the model in a new environment.
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "torch", "transformers")],
    )


def hush() -> None:
    """Keep to ourselves what two libraries say about any model that did not come from the hub."""
    logging.getLogger("mlflow.transformers").setLevel(logging.ERROR)
    transformers.logging.set_verbosity(logging.ERROR)
    nncf.set_log_level(logging.ERROR)


def main() -> None:
    hush()
    params = load_params()
    run_id = json.loads((TRAINED / "run.json").read_text())["run_id"]
    model = DistilBertForSequenceClassification.from_pretrained(TRAINED / "model")
    temperature = export(model, params)
    connect()
    with resume(run_id) as run:
        renew(run)
        mlflow.log_metric("temperature", temperature)
        mlflow.set_tag("weights_sha256", sha256(SERVED / "model.bin"))
        mlflow.set_tag("trained_sha256", weights_sha256(model))
        log_model(run_id, model, params.train.max_tokens)


if __name__ == "__main__":
    # MLflow asks the hub for a model card, and a model that was never there has none.
    os.environ["HF_HUB_OFFLINE"] = "1"
    run_stage(main)
