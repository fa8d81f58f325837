"""The Bento as it serves a champion of a real registry, for the benchmarks of its own behaviour."""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from benchmarks.serving.processes import HOST, Family, free_port, new_mark, wait_until

ROOT = Path(__file__).resolve().parents[1]


def model_options(parser: argparse.ArgumentParser) -> None:
    """Which model is served, and the texts that it is asked about."""
    results = ROOT / "results"
    parser.add_argument("--export", type=Path, default=results / "export" / "serving")
    parser.add_argument("--validation", type=Path, default=results / "prepare" / "validation.csv")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--words", type=int, default=0, help="of a text; default 0, the snippets as they are")


@dataclass(frozen=True)
class MlflowServer:
    """A running server with an experiment and the registered model `sentiment`."""

    url: str
    client: MlflowClient
    scratch: Path

    def register(self, export: Path, max_tokens: int) -> str:
        """Register the export as the pipeline does, its texts cut at `max_tokens`. Returns the version."""
        serving = self.scratch / "serving"
        shutil.copytree(export, serving, dirs_exist_ok=True)
        settings = json.loads((serving / "serving.json").read_text(encoding="utf-8"))
        (serving / "serving.json").write_text(
            json.dumps({**settings, "max_tokens": max_tokens, "windows": 1})
        )
        model = self.client.create_logged_model("0", name="sentiment")
        self.client.log_model_artifacts(model.model_id, str(serving), "serving")
        self.client.finalize_logged_model(model.model_id, "READY")
        weights = hashlib.sha256((serving / "model.bin").read_bytes()).hexdigest()
        tags = {"weights_sha256": weights, "accuracy": "1"}  # `promote` takes no version without the two
        found = self.client.create_model_version(
            "sentiment", model.artifact_location, tags=tags, model_id=model.model_id
        )
        return str(found.version)

    def make_champion(self, version: str) -> None:
        self.client.set_registered_model_alias("sentiment", "champion", version)


@contextlib.contextmanager
def registry(scratch: Path) -> Iterator[MlflowServer]:
    port = free_port()
    where = ["--host", HOST, "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{scratch}/mlflow.db"]
    artifacts = ["--artifacts-destination", f"{scratch}/artifacts"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with Family(new_mark()) as family:
        command = [sys.executable, "-m", "mlflow", "server", *where, *stores, *artifacts]
        family.start(command, environment, scratch / "mlflow.log", scratch)
        url = f"http://{HOST}:{port}"
        wait_until(lambda: answers(f"{url}/health"), family, 120)
        client = MlflowClient(url, url)
        client.create_registered_model("sentiment")
        yield MlflowServer(url, client, scratch)


@contextlib.contextmanager
def bento(scratch: Path, mlflow: MlflowServer, **settings: str) -> Iterator[tuple[Family, int]]:
    """The Bento, ready, and its port."""
    port = free_port()
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": mlflow.url,
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        **settings,
    }
    target = "bentos.sentiment.service:Sentiment"
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]
    with Family(new_mark()) as family:
        family.start(command, environment, scratch / "bento.log", ROOT)
        wait_until(lambda: answers(f"http://{HOST}:{port}/readyz"), family, 120)
        yield family, port


def answers(url: str) -> bool:
    """True on 200."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
        return bool(response.status == 200)
    return False


def metric(port: int, name: str) -> float:
    """The sum of what /metrics says of a name, labels included as far as they are given."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
