"""The model that a run logs to MLflow: its PyTorch form with the served form beside it."""

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.models import infer_signature
from transformers import AutoTokenizer, DistilBertForSequenceClassification

from pipelines.core.wheels import sha256

TRAINED = Path("results/train")
SERVED = Path("results/export/serving")


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
