"""Register the exported model as champion of a new registry, and classify the probes with the engine.

Arguments: EXPORT SCRATCH MAX_TOKENS. Reads the texts in SCRATCH/probes.json and writes SCRATCH/labels.json. A
process of its own, because importing MLflow takes seconds.
"""

import json
import sys
from pathlib import Path

from mlflow import MlflowClient

from benchmarks.model import copy_export, make_champion, register
from bentos.sentiment.engine import Engine


def main(export: Path, scratch: Path, max_tokens: int) -> None:
    serving = scratch / "serving"
    copy_export(export, serving, max_tokens)
    engine = Engine(serving)
    probes = json.loads((scratch / "probes.json").read_text(encoding="utf-8"))
    labels = [engine.labels[best] for best in engine.probabilities(probes).argmax(axis=1)]
    (scratch / "labels.json").write_text(json.dumps(labels))
    uri = f"sqlite:///{scratch / 'mlflow.db'}"
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("sentiment", (scratch / "artifacts").as_uri())
    client.create_registered_model("sentiment")
    make_champion(client, register(client, serving, experiment))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
