import shutil
from collections.abc import Iterator

import httpx
import pytest

from benchmarks.processes import free_ports
from deploy.backup.sqlite import Sqlite
from tests.deploy.stack import Stack, stack_folder
from tests.e2e.collector import Collector
from tests.project import Project


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Receives the spans of every process of the stack."""
    with Collector() as running:
        yield running


@pytest.fixture(scope="session")
def served(trained: Project) -> Iterator[Project]:
    """A copy of the trained project, whose registry and data these tests may change."""
    database, artifacts = trained.folder / "var" / "mlflow.db", trained.folder / "var" / "mlartifacts"
    with stack_folder() as folder:
        project = Project(folder / "project")
        shutil.copytree(trained.folder, project.folder, ignore=shutil.ignore_patterns("mlflow.db*"))
        Sqlite(database, artifacts).dump(folder / "mlflow.db")
        # Artifact URIs are absolute: the restore rewrites them for the copy.
        var = project.folder / "var"
        Sqlite(var / "mlflow.db", var / "mlartifacts").restore(folder / "mlflow.db")
        yield project


@pytest.fixture(scope="session")
def stack(served: Project, collector: Collector) -> Iterator[Stack]:
    """The whole stack, serving a model that the pipeline has trained and registered.

    Tests that stop or break a service start it again.
    """
    # One of the few validation reviews is more than the default limit of one percentage point.
    limit = {"SENTIMENT_PROMOTE_MAX_ACCURACY_LOSS": "0.05"}
    served.run("python", "-m", "bentos.sentiment.promote", "--alias", "challenger", env=limit)
    stack = Stack(served.folder)
    worker, prometheus = free_ports(2)
    settings = {
        "WORKER_LEASE_SECONDS": 15,  # until the reviews that a killed worker claimed are pending again
        "SENTIMENT_POLL_SECONDS": 2,  # until the Bento serves a promoted version
        "LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "WORKER_METRICS_PORT": worker,
        "PROMETHEUS_PORT": prometheus,
    }
    with (stack.root / ".env.example").open("a") as example:
        example.writelines(f"{name}={value}\n" for name, value in settings.items())
    try:
        stack.run("up")
        yield stack
    finally:
        stack.destroy()


def connect(stack: Stack) -> httpx.Client:
    """A client of the API with the options that every request needs."""
    key = {"Authorization": f"Bearer {stack.api_key}"}
    return httpx.Client(base_url=stack.url("API_PORT", ""), headers=key, timeout=30, trust_env=False)


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with connect(stack) as client:
        yield client
