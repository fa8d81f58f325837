"""Shared fixtures, the distribution of tests among pytest-xdist's workers, and the marker `process`.

The tests of a file run in one worker, and so do those of a folder whose tests share a stack.

A test has the marker `process` if it starts a process, or needs a server or a training. Every test that uses
one of PROCESS_FIXTURES, directly or through another fixture, gets it automatically. A file whose tests start
processes themselves sets `pytestmark = pytest.mark.process`. `pytest -m "not process"` runs the quick tests.
"""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

# The models of the tests are tiny: more threads would spend most of their time waiting in busy loops.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["tests.postgres", "tests.trained"]

PROCESS_FIXTURES = frozenset(
    {
        "postgres_socket",  # new_database and database_url use it
        "trained",
        "stack",
        "fresh",
        "collector",
        "server",
        "mlflow_server",
        "bento",
    }
)


def start_order(item: pytest.Item) -> int:
    """Return 0 for tests of the stack, which take longest, and 2 for others that need its training."""
    fixtures = getattr(item, "fixturenames", ())
    if item.nodeid.startswith("tests/e2e/") and "stack" in fixtures:
        return 0
    return 2 if "trained" in fixtures else 1


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is untyped
    """Assign all tests of a file to one worker, and likewise all of a folder whose tests share a stack.

    `--dist loadgroup` of pytest-xdist 3.8 is meant for this but has no effect with pytest 9.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in ("tests/deploy", "tests/e2e") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=start_order)
    for item in items:
        if isinstance(item, pytest.Function) and not PROCESS_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker("process")
