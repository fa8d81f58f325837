"""Shared fixtures, how tests are divided among pytest-xdist's workers, and the marker `process`.

The tests of a file run in one worker, which shares the fixtures, and so do those that use a folder's stack.

`pytest -m "not process"` is the quick part of the suite.

A test has the marker if it starts a process, or needs a server or a training. The fixtures below give it to
every test that uses one, directly or through another fixture. A file whose tests start processes themselves
sets `pytestmark = pytest.mark.process`.
"""

import os

import pytest

# The models here are tiny. Threads of several processes would wait in loops for longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["tests.postgres", "tests.trained"]

PROCESS_FIXTURES = frozenset(
    {
        "postgres_socket",  # and so new_database and database_url
        "trained",
        "stack",
        "fresh",
        "collector",
        "server",
        "mlflow_server",
        "bento",
    }
)


def starts_at(item: pytest.Item) -> int:
    """The tests of the whole stack take longest and begin; those that need its training wait for it."""
    fixtures = getattr(item, "fixturenames", ())
    if item.nodeid.startswith("tests/e2e/") and "stack" in fixtures:
        return 0
    return 2 if "trained" in fixtures else 1


def group_of(item: pytest.Item) -> str:
    """The tests of a folder that use its stack are one group, those of any other file are one."""
    file = item.nodeid.partition("::")[0]
    return f"{file.rpartition('/')[0]}: stack" if "stack" in getattr(item, "fixturenames", ()) else file


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=starts_at)
    for item in items:
        if config.pluginmanager.hasplugin("xdist") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(group_of(item)))
        if isinstance(item, pytest.Function) and not PROCESS_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker("process")
