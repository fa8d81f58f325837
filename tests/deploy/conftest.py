from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.stack import Stack, stack_folder


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests that share the stack in one worker of pytest-xdist."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if Path(__file__).parent in item.path.parents and "stack" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group("deploy-stack"))


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
