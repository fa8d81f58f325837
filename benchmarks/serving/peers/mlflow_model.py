"""Save the model for `mlflow models serve` in BENCHMARK_SCRATCH/model."""

import os
from pathlib import Path

import mlflow.transformers
from mlflow.models import infer_signature
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.serving.peers.classifier import MAX_TOKENS, MODEL


def save(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    mlflow.transformers.save_model(
        {"model": AutoModelForSequenceClassification.from_pretrained(MODEL), "tokenizer": tokenizer},
        path=str(folder),
        task="text-classification",
        model_config={"truncation": True, "max_length": MAX_TOKENS},
        signature=infer_signature(["A fine film."], [{"label": "positive", "score": 0.99}]),
        pip_requirements=["torch", "transformers"],  # otherwise MLflow runs the model to infer them
    )


if __name__ == "__main__":
    save(Path(os.environ["BENCHMARK_SCRATCH"]) / "model")
