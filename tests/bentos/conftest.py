"""Real parts only: an MLflow database or server, an OpenVINO model, `bentoml serve` processes on loopback."""

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

from benchmarks.processes import free_port
from bentos.sentiment.champion import store
from bentos.sentiment.settings import Settings, sqlite_url
from tests.bentos.registration import register
from tests.trained import make_once

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "bentos.sentiment.service"
READY_SECONDS = 120  # on a busy machine; an idle one needs 5


@dataclass(frozen=True)
class Registry:
    """An MLflow database, with the BENTOML_HOME and the environment of the processes that use it."""

    folder: Path

    @property
    def uri(self) -> str:
        return sqlite_url(self.folder / "mlflow.db")

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri, self.uri)

    @property
    def environment(self) -> dict[str, str]:
        settings = ("SENTIMENT_", "MLFLOW_", "BENTOML_")
        return {name: value for name, value in os.environ.items() if not name.startswith(settings)} | {
            "MLFLOW_TRACKING_URI": self.uri,
            "BENTOML_HOME": str(self.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
        }

    def promote(self, serving: Path, accuracy: str = "0.8") -> str:
        """Register the folder and make it the champion, without any gate. Returns the version."""
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
    """A running MLflow server with its own registry."""

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
        """Sum a metric over its labels; `name` may end with some of them: `name{label="value"`."""
        lines = self.client.get("/metrics").text.splitlines()
        found = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
        return sum(found)


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models with different weights."""

    def make(folder: Path) -> None:
        # Imported here because it imports torch, which one worker pays for.
        from tests.bentos.model import build_model

        for seed in range(3):
            build_model(folder / str(seed) / "serving", seed)

    folder = make_once(tmp_path_factory, "bento-models", make)
    return [folder / str(seed) / "serving" for seed in range(3)]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with the registered model and no version. Copied, as its migrations take seconds."""

    def make(folder: Path) -> None:
        Registry(folder).client.create_registered_model("sentiment")

    return make_once(tmp_path_factory, "bento-registry", make) / "mlflow.db"


@pytest.fixture(scope="session")
def server(
    empty_database: Path, serving: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Bento with JSON logs, whose registry is a database: version 2 is champion, 3 is challenger.

    Its limits on time are so generous that no request is refused on a busy machine.
    """
    registry = copy(empty_database, tmp_path_factory.mktemp("shared"))
    for folder, accuracy in zip(serving, ("0.81", "0.83", "0.85"), strict=True):
        register(registry.client, folder, accuracy)
    registry.client.set_registered_model_alias("sentiment", "champion", "2")
    registry.client.set_registered_model_alias("sentiment", "challenger", "3")
    patient = {"SENTIMENT_MAX_LATENCY_MS": "1200000", "SENTIMENT_TIMEOUT_SECONDS": "600"}
    with serve(registry, LOG_FORMAT="json", **patient) as running:
        yield running


@pytest.fixture(scope="session")
def offline(serving: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry whose database is gone, with version 2 in the local store. Serving starts without MLflow."""
    registry = Registry(tmp_path_factory.mktemp("offline"))
    with model_store(registry):
        store.mark_champion(store.add(serving[1], "2", "ab" * 32, {}, registry.uri), registry.uri)
    return registry


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Registry:
    """A registry with no version, for this test alone."""
    return copy(empty_database, tmp_path)


@pytest.fixture
def two(registry: Registry, serving: list[Path]) -> Registry:
    """Version 1, accuracy 0.80, is champion; version 2, accuracy 0.85, is challenger."""
    registry.promote(serving[0], "0.80")
    register(registry.client, serving[1], "0.85")
    registry.client.set_registered_model_alias("sentiment", "challenger", "2")
    return registry


@pytest.fixture(scope="session")
def running_mlflow(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """The MLflow server behind `mlflow_server`."""
    with serve_registry(empty_database, tmp_path_factory.mktemp("mlflow") / "server") as server:
        yield server


@pytest.fixture
def mlflow_server(running_mlflow: MlflowServer) -> MlflowServer:
    """A server with no version, which later tests use too: do not stop it."""
    return emptied(running_mlflow)


@pytest.fixture
def own_mlflow_server(empty_database: Path, tmp_path: Path) -> Iterator[MlflowServer]:
    """A server with no version, for this test alone, which may stop it."""
    with serve_registry(empty_database, tmp_path / "server") as server:
        yield server


@pytest.fixture
def settings(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of this test's registry. The model store of `serve(registry)` is open in this process too."""
    for name, value in {"MAX_RETRIES": "1", "BACKOFF_FACTOR": "0", "TIMEOUT": "5"}.items():
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    # `registry.connect` sets it in the environment of this process; monkeypatch removes it again.
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", registry.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # The test models take a tenth of a millisecond, so other load on the machine changes the ratio.
    monkeypatch.setenv("SENTIMENT_PROMOTE_MAX_LATENCY_RATIO", "10")
    with model_store(registry):
        yield Settings()
    mlflow.set_tracking_uri("")
    mlflow.set_registry_uri("")


@contextlib.contextmanager
def model_store(registry: Registry) -> Iterator[None]:
    """Use the registry's BENTOML_HOME in this process."""
    models = registry.folder / "bentoml" / "models"
    models.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bentoml._internal.utils.analytics.usage_stats.do_not_track", lambda: True)
        BentoMLContainer.model_store_dir.set(str(models))
        BentoMLContainer.model_store.set(ModelStore(models))
        try:
            yield
        finally:
            BentoMLContainer.model_store_dir.reset()
            BentoMLContainer.model_store.reset()


def copy(database: Path, folder: Path) -> Registry:
    shutil.copy(database, folder / "mlflow.db")
    registry = Registry(folder)
    registry.client.create_experiment("sentiment", (folder / "artifacts").as_uri())
    return registry


def emptied(server: MlflowServer) -> MlflowServer:
    """Remove every version and the history; the next version is 1 again."""
    for model in server.client.search_registered_models():
        server.client.delete_registered_model(model.name)
    server.client.create_registered_model("sentiment")
    return server


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {READY_SECONDS} s"
        time.sleep(0.05)


@contextlib.contextmanager
def serve(registry: Registry, module: str = SERVICE, **settings: str) -> Iterator[Server]:
    """Start `bentoml serve`, wait for /readyz, and stop all its processes at the end."""
    port, log = free_port(), registry.folder / f"serve-{time.monotonic_ns()}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            serve_command(port, module),
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
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *address, *stores],
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


def serve_command(port: int, module: str = SERVICE) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "bentoml", "serve", f"{module}:Sentiment", *address]


def wait_until(url: str, process: subprocess.Popen[str], log: Path) -> None:
    """Wait until the URL is answered 200; on failure show the log."""
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=READY_SECONDS) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).status_code == 200:
                    return
            time.sleep(0.05)
    pytest.fail(f"{url} did not become ready:\n{log.read_text()}")


def stop(process: subprocess.Popen[str]) -> None:
    """Terminate the parent, then kill its children one by one: BentoML's workers have their own sessions."""
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
