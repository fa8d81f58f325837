from collections.abc import Iterator

import pytest

from tests.deploy.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that no test needs fresh: `up` is quick when it is up, so each test brings up what it needs."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    yield stack
    stack.destroy()


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that was never started."""
    stack = Stack(tmp_path_factory.mktemp("fresh"))
    yield stack
    stack.destroy()
