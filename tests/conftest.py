"""Shared fixtures, how tests are divided among pytest-xdist's workers, and the marker `process`.

The tests of a file run in one worker, and so do those of a folder that shares a stack.

`pytest -m "not process"` is the quick part of the suite.

A test has the marker if it starts a process, or needs a server or a training. The fixtures below give it to
every test that uses one, directly or through another fixture. A file whose tests start processes themselves
sets `pytestmark = pytest.mark.process`.
"""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

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


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is untyped
    """Gives all tests of a file to one worker, and all of a folder whose tests share a stack.

    pytest-xdist 3.8 has `--dist loadgroup` for this, which pytest 9 leaves without effect.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in ("tests/deploy", "tests/e2e") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=starts_at)
    for item in items:
        if isinstance(item, pytest.Function) and not PROCESS_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker("process")
