"""Shared fixtures, and the marker `process`: `pytest -m "not process"` is the quick part of the suite.

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and not PROCESS_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker("process")
