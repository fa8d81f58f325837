"""Starts the Bento and an MLflow server with the exported model, for load tests of the Bento alone."""

import argparse
import contextlib
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from benchmarks.model import copy_export, make_champion, register
from benchmarks.processes import HOST, ROOT, ProcessTree, free_port

READY_SECONDS = 120


@dataclass(frozen=True)
class Bento:
    """A running Bento. Version 1 is the champion of the MLflow server at `mlflow_url`."""

    port: int
    processes: ProcessTree
    mlflow_url: str
    scratch: Path

    def metric(self, name: str) -> float:
        """Return the sum of all samples at /metrics that start with `name`, which may include labels."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the model and the texts."""
    results = ROOT / "results"
    parser.add_argument(
        "--export", type=Path, default=results / "export" / "serving", help="folder of the exported model"
    )
    parser.add_argument(
        "--validation",
        type=Path,
        default=results / "prepare" / "validation.csv",
        help="CSV file with the texts to send",
    )
    parser.add_argument(
        "--max-tokens", type=int, default=256, help="texts are truncated to this length; default 256"
    )
    parser.add_argument(
        "--words",
        type=int,
        default=0,
        help="texts are joined until they have this many words; default 0, not joined",
    )


@contextlib.contextmanager
def run_bento(options: argparse.Namespace, versions: int = 1, **settings: str) -> Iterator[Bento]:
    """Run the Bento with the exported model, registered as `versions` versions; stop it at the end.

    `settings` are environment variables of the Bento.
    """
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        ProcessTree() as mlflow,
        ProcessTree() as processes,
    ):
        scratch, port = Path(folder), free_port()
        url = start_mlflow(mlflow, scratch)
        copy_export(options.export, scratch / "serving", options.max_tokens)
        client = MlflowClient(url, url)
        client.create_registered_model("sentiment")
        for _ in range(versions):
            register(client, scratch / "serving", "0")
        make_champion(client, "1")
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": url,
            "BENTOML_HOME": str(scratch / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
            **settings,
        }
        target = "bentos.sentiment.service:Sentiment"
        command = [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]
        processes.start(command, environment, scratch / "bento.log", ROOT)
        processes.wait_until(lambda: is_ready(f"http://{HOST}:{port}/readyz"), READY_SECONDS)
        yield Bento(port, processes, url, scratch)


def start_mlflow(processes: ProcessTree, scratch: Path) -> str:
    """Start an MLflow server and return its URL."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{scratch}/mlflow.db"),
        *("--artifacts-destination", f"{scratch}/artifacts"),
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    processes.start(command, environment, scratch / "mlflow.log", scratch)
    url = f"http://{HOST}:{port}"
    processes.wait_until(lambda: is_ready(f"{url}/health"), READY_SECONDS)
    return url


def is_ready(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
        return bool(response.status == 200)
    return False
