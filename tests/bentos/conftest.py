"""Real parts only: an MLflow database, an OpenVINO model, `bentoml serve` processes on loopback."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import mlflow
import psutil
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from mlflow import MlflowClient

from benchmarks.serving.processes import free_port
from bentos.sentiment.settings import Settings
from tests.bentos.model import build_model, register

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 120  # of a machine with other things to do; alone it takes 5


@dataclass(frozen=True)
class Registry:
    """An MLflow database of its own, and the BENTOML_HOME and environment of who uses it."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri, self.uri)

    @property
    def environment(self) -> dict[str, str]:
        ours = ("SENTIMENT_", "MLFLOW_", "BENTOML_")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "MLFLOW_TRACKING_URI": self.uri,
            "BENTOML_HOME": str(self.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
        }

    def promote(self, serving: Path, accuracy: str = "0.8") -> str:
        """Register the folder and make it the champion, without any check. Returns the version."""
        version = register(self.client, serving, accuracy)
        self.client.set_registered_model_alias("sentiment", "champion", version)
        return version

    def aliases(self) -> dict[str, str]:
        aliases = self.client.get_registered_model("sentiment").aliases
        return {alias: str(version) for alias, version in aliases.items()}

    def disappear(self) -> None:
        (self.folder / "mlflow.db").rename(self.folder / "gone.db")


@dataclass(frozen=True)
class MlflowServer(Registry):
    """A running MLflow server with a registry of its own."""

    process: subprocess.Popen[str]
    url: str

    @property
    def uri(self) -> str:
        return self.url


@dataclass(frozen=True)
class Server:
    """A running `bentoml serve`."""

    process: subprocess.Popen[str]
    client: httpx.Client
    log: Path

    def classify(self, texts: list[str]) -> httpx.Response:
        return self.client.post("/classify", json={"texts": texts})

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; `name` may end with some of them, `name{label="value"`."""
        lines = self.client.get("/metrics").text.splitlines()
        found = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
        return sum(found)


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models of different weights."""
    folder = tmp_path_factory.mktemp("models")
    return [build_model(folder / str(seed) / "serving", seed) for seed in range(3)]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with the registered model and no version. Making one takes seconds, copying none."""
    registry = Registry(tmp_path_factory.mktemp("mlflow"))
    registry.client.create_registered_model("sentiment")
    return registry.folder / "mlflow.db"


@pytest.fixture(scope="session")
def shared(empty_database: Path, serving: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The registry behind the shared server: version 2 is the champion, 3 the challenger. Read only."""
    registry = copy(empty_database, tmp_path_factory.mktemp("shared"))
    for folder, accuracy in zip(serving, ("0.81", "0.83", "0.85"), strict=True):
        register(registry.client, folder, accuracy)
    registry.client.set_registered_model_alias("sentiment", "champion", "2")
    registry.client.set_registered_model_alias("sentiment", "challenger", "3")
    return registry


@pytest.fixture(scope="session")
def server(shared: Registry) -> Iterator[Server]:
    with serve(shared) as running:
        yield running


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Registry:
    """A registry with no version, of this test alone."""
    return copy(empty_database, tmp_path)


@pytest.fixture
def two(registry: Registry, serving: list[Path]) -> Registry:
    """Version 1, accuracy 0.80, is champion; version 2, accuracy 0.85, is challenger."""
    registry.promote(serving[0], "0.80")
    register(registry.client, serving[1], "0.85")
    registry.client.set_registered_model_alias("sentiment", "challenger", "2")
    return registry


@pytest.fixture
def mlflow_server(empty_database: Path, tmp_path: Path) -> Iterator[MlflowServer]:
    """A server of this test alone, with no version."""
    with serve_registry(empty_database, tmp_path / "server") as server:
        yield server


@pytest.fixture
def settings(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Of this test's registry, with the model store that `serve(registry)` uses open in this process too."""
    for name, value in {"MAX_RETRIES": "1", "BACKOFF_FACTOR": "0", "TIMEOUT": "5"}.items():
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    # `registry.connect` leaves it in the environment of this process, and monkeypatch takes it away again.
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", registry.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # The models here take a tenth of a millisecond, and the machine may have other things to do.
    monkeypatch.setenv("SENTIMENT_PROMOTE_MAX_LATENCY_RATIO", "10")
    monkeypatch.setattr("bentoml._internal.utils.analytics.usage_stats.do_not_track", lambda: True)
    models = registry.folder / "bentoml" / "models"
    models.mkdir(parents=True)
    BentoMLContainer.model_store_dir.set(str(models))
    BentoMLContainer.model_store.set(ModelStore(models))
    yield Settings()
    BentoMLContainer.model_store_dir.reset()
    BentoMLContainer.model_store.reset()
    mlflow.set_tracking_uri("")
    mlflow.set_registry_uri("")


def copy(database: Path, folder: Path) -> Registry:
    shutil.copy(database, folder / "mlflow.db")
    registry = Registry(folder)
    registry.client.create_experiment("sentiment", (folder / "artifacts").as_uri())
    return registry


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {READY_SECONDS} s"
        time.sleep(0.05)


@contextlib.contextmanager
def serve(registry: Registry, **settings: str) -> Iterator[Server]:
    """Start `bentoml serve`, wait for /readyz, and in the end leave no process behind."""
    port, log = free_port(), registry.folder / f"serve-{time.monotonic_ns()}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            serve_command(port),
            cwd=ROOT,
            env=registry.environment | settings,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=READY_SECONDS) as client:
            wait_until(f"{client.base_url}/readyz", process, log)
            yield Server(process, client, log)
    finally:
        stop(process)


@contextlib.contextmanager
def serve_registry(database: Path, folder: Path) -> Iterator[MlflowServer]:
    """Start `mlflow server` on a copy of the database, in a new folder."""
    folder.mkdir()
    shutil.copy(database, folder / "mlflow.db")
    port, log = free_port(), folder / "log"
    stores = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", str(folder / "files")]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *where, *stores],
            cwd=folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=output,
            stderr=output,
            text=True,
        )
    try:
        server = MlflowServer(folder, process, f"http://127.0.0.1:{port}")
        wait_until(f"{server.url}/health", process, log)
        server.client.create_experiment("sentiment")
        yield server
    finally:
        stop(process)


def serve_command(port: int) -> list[str]:
    target = "bentos.sentiment.service:Sentiment"
    return [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)]


def wait_until(url: str, process: subprocess.Popen[str], log: Path) -> None:
    """Wait for 200, or fail with the log."""
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=READY_SECONDS) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).status_code == 200:
                    return
            time.sleep(0.05)
    pytest.fail(f"{url} did not become ready:\n{log.read_text()}")


def stop(process: subprocess.Popen[str]) -> None:
    """BentoML's workers are in sessions of their own: the parent is asked, then each is killed by its pid."""
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    for member in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.kill()
    process.wait()
