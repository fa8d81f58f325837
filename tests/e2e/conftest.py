from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.serving.processes import free_ports
from tests.deploy.stack import Stack
from tests.e2e.collector import Collector
from tests.project import Project


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where all processes of the stack send their spans."""
    with Collector() as running:
        yield running


@pytest.fixture(scope="session")
def stack(trained: Project, collector: Collector) -> Iterator[Stack]:
    """The whole stack, serving what the pipeline has just trained and registered."""
    # Of 300 validation reviews three are a hundredth already.
    limit = {"SENTIMENT_PROMOTE_MAX_ACCURACY_LOSS": "0.05"}
    trained.run("python", "-m", "bentos.sentiment.promote", "--alias", "challenger", env=limit)
    stack = Stack(Path(trained.folder))
    # What a killed worker had claimed is due again so much later.
    with (stack.root / ".env.example").open("a") as example:
        example.write("WORKER_LEASE_SECONDS=15\n")
        example.write(f"LOG_FORMAT=json\nOTEL_EXPORTER_OTLP_ENDPOINT={collector.url}\n")
        worker, prometheus = free_ports(2)
        example.write(f"WORKER_METRICS_PORT={worker}\nPROMETHEUS_PORT={prometheus}\n")
    try:
        stack.run("up")
        yield stack
    finally:
        stack.destroy()


def connect(stack: Stack) -> httpx.Client:
    """A client of the API: the one place that knows what every request needs."""
    key = {"Authorization": f"Bearer {stack.api_key}"}
    return httpx.Client(base_url=stack.url("API_PORT", ""), headers=key, timeout=30, trust_env=False)


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with connect(stack) as client:
        yield client
