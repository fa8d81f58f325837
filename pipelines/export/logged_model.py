"""The model logged to MLflow: the PyTorch form together with the served form."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import Run
from mlflow.models import infer_signature
from transformers import AutoTokenizer, DistilBertForSequenceClassification

from pipelines.core.mlflow_store import VERDICTS
from pipelines.core.wheels import sha256

TRAINED = Path("results/train")
SERVED = Path("results/export/serving")


def weights_sha256(model: DistilBertForSequenceClassification) -> str:
    """Return the sha256 of the model's weights file, saved to a temporary folder."""
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return sha256(Path(folder, "model.safetensors"))


def log_model(
    run: Run,
    model: DistilBertForSequenceClassification,
    params: Mapping[str, str],
    hashes: Mapping[str, str],
) -> str:
    """Log the model in the transformers and pyfunc flavours, with the served files under serving/.

    Returns its id. A run may export several models; each has its own params, hashes, lineage and, later,
    metrics. The served files are logged first: MLflow sets the model to READY once the flavours are logged.
    """
    lineage = {tag: value for tag, value in run.data.tags.items() if not tag.startswith("mlflow.")}
    logged = mlflow.initialize_logged_model(
        name="sentiment",
        source_run_id=run.info.run_id,
        params=dict(params),
        tags=without_verdicts(lineage) | dict(hashes),
    )
    mlflow.MlflowClient().log_model_artifacts(logged.model_id, str(SERVED), artifact_path="serving")
    mlflow.transformers.log_model(
        {"model": model, "tokenizer": AutoTokenizer.from_pretrained(TRAINED / "model")},
        task="text-classification",
        # pyfunc reads only a text's first window; without truncation, more than 512 tokens are an error.
        model_config={"truncation": True, "max_length": int(params["train.max_tokens"])},
        model_id=logged.model_id,
        signature=infer_signature(["A fine film."], [{"label": "positive", "score": 0.99}]),
        # Given explicitly: MLflow would otherwise infer them by running the model in a new environment.
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "torch", "transformers")],
    )
    return str(logged.model_id)


def without_verdicts(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags without those in which `evaluate` judged the run's earlier model."""
    return {tag: value for tag, value in tags.items() if tag not in VERDICTS}
