from collections.abc import Iterator

import pytest

from tests.deploy.stack import Stack, stack_folder


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """A shared stack. Each test starts the services that it needs; `up` skips those that are running."""
    with stack_folder() as folder:
        stack = Stack(folder)
        yield stack
        stack.destroy()


@pytest.fixture
def fresh() -> Iterator[Stack]:
    """A stack that has never been started."""
    with stack_folder() as folder:
        stack = Stack(folder)
        yield stack
        stack.destroy()
