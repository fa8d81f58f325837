"""Shared fixtures, the distribution of tests among pytest-xdist's workers, and the marker `process`.

The tests of a file run in one worker, and so do those of a folder whose tests share a stack.

`pytest -m "not process"` runs the quick tests. The others have the marker `process`: they start a process, or
need a server, a training, a model or an MLflow store. A test that uses one of PROCESS_FIXTURES, directly or
through another fixture, gets the marker automatically. A file whose tests start processes themselves sets
`pytestmark = pytest.mark.process`. A quick test that starts a process fails.
"""

import os
import sys
from collections.abc import Iterator

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
        "running_mlflow",
        "own_mlflow_server",
        "bento",
        "empty_database",
        "empty_store",
        "serving",
        "tiny_encoder",
        "packaged",
        "bert",
        "exported",
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


class NoProcess:
    """Fails a test that starts a process."""

    def __init__(self) -> None:
        self.started: list[str] = []
        sys.addaudithook(self.note)

    def note(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in ("os.fork", "os.posix_spawn", "subprocess.Popen"):
            self.started.append(str(arguments[0]) if arguments else "a fork")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self.started.clear()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        yield
        if self.started:
            pytest.fail(f"it starts {self.started[0]} but lacks the marker `process`")


def pytest_configure(config: pytest.Config) -> None:
    # Only here: in a run of all tests, an import that starts a process may happen in any of them.
    if config.option.markexpr == "not process":
        config.pluginmanager.register(NoProcess())
