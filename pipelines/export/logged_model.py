"""The model logged to MLflow: the PyTorch form together with the served form."""

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
    """Return the sha256 of the model's weights file, saved to a temporary folder."""
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return sha256(Path(folder, "model.safetensors"))


def log_model(run_id: str, model: DistilBertForSequenceClassification, max_tokens: int) -> None:
    """Log the model in the transformers and pyfunc flavours, with the served files under serving/.

    The served files are logged first: MLflow sets the model to READY once the flavours are logged.
    """
    logged = mlflow.initialize_logged_model(name="sentiment", source_run_id=run_id)
    mlflow.MlflowClient().log_model_artifacts(logged.model_id, str(SERVED), artifact_path="serving")
    mlflow.transformers.log_model(
        {"model": model, "tokenizer": AutoTokenizer.from_pretrained(TRAINED / "model")},
        task="text-classification",
        # pyfunc reads only a text's first window; without truncation, more than 512 tokens are an error.
        model_config={"truncation": True, "max_length": max_tokens},
        model_id=logged.model_id,
        signature=infer_signature(["A fine film."], [{"label": "positive", "score": 0.99}]),
        # Given explicitly: MLflow would otherwise infer them by running the model in a new environment.
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "torch", "transformers")],
    )
