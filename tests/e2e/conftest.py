from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.stack import Stack
from tests.project import Project


@pytest.fixture(scope="session")
def stack(trained: Project) -> Iterator[Stack]:
    """The whole stack, serving what the pipeline has just trained and registered."""
    trained.run("python", "-m", "bentos.sentiment.promote", "--alias", "challenger")
    stack = Stack(Path(trained.folder))
    try:
        stack.run("up")
        yield stack
    finally:
        stack.destroy()


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    key = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.url("API_PORT", ""), headers=key, timeout=30, trust_env=False) as client:
        yield client
