"""The model as an MLflow model, for `mlflow models serve`, written to BENCHMARK_SCRATCH/model."""

import os
from pathlib import Path

import mlflow.transformers
from mlflow.models import infer_signature
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.serving.contenders.classifier import MAX_TOKENS, MODEL


def save(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    mlflow.transformers.save_model(
        {"model": AutoModelForSequenceClassification.from_pretrained(MODEL), "tokenizer": tokenizer},
        path=str(folder),
        task="text-classification",
        model_config={"truncation": True, "max_length": MAX_TOKENS},
        signature=infer_signature(["A fine film."], [{"label": "positive", "score": 0.99}]),
        pip_requirements=["torch", "transformers"],  # else MLflow runs the model to find out
    )


if __name__ == "__main__":
    save(Path(os.environ["BENCHMARK_SCRATCH"]) / "model")
