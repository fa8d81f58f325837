"""`python -m benchmarks.serving.champion EXPORT SCRATCH MAX_TOKENS`: the export, champion of a new registry.

Run as a process of its own, because MLflow takes seconds to import. Reads SCRATCH/probes.json, a list of
texts, and writes SCRATCH/labels.json, what the model makes of them.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

from mlflow import MlflowClient

from bentos.sentiment.engine import Engine


def copy(export: Path, serving: Path, max_tokens: int) -> None:
    """The export with its texts cut at `max_tokens`: the default model was trained on short ones."""
    shutil.copytree(export, serving)
    settings = json.loads((serving / "serving.json").read_text(encoding="utf-8"))
    (serving / "serving.json").write_text(json.dumps({**settings, "max_tokens": max_tokens, "windows": 1}))


def register(serving: Path, scratch: Path) -> None:
    """As the pipeline does: a logged model with serving/ inside, a version with its hash, the alias."""
    uri = f"sqlite:///{scratch / 'mlflow.db'}"
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("sentiment", (scratch / "artifacts").as_uri())
    model = client.create_logged_model(experiment, name="sentiment")
    client.log_model_artifacts(model.model_id, str(serving), "serving")
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model("sentiment")
    digest = hashlib.sha256((serving / "model.bin").read_bytes()).hexdigest()
    version = client.create_model_version(
        "sentiment", model.artifact_location, tags={"weights_sha256": digest, "accuracy": "1"}
    )
    client.set_registered_model_alias("sentiment", "champion", version.version)


def main(export: Path, scratch: Path, max_tokens: int) -> None:
    serving = scratch / "serving"
    copy(export, serving, max_tokens)
    engine = Engine(serving)
    probes = json.loads((scratch / "probes.json").read_text(encoding="utf-8"))
    labels = [engine.labels[best] for best in engine.probabilities(probes).argmax(axis=1)]
    (scratch / "labels.json").write_text(json.dumps(labels))
    register(serving, scratch)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
