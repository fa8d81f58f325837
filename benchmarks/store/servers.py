"""The two servers that answer for a store: the API, and the bare handler that it is compared with."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.place import ROOT, inherited
from benchmarks.serving.processes import HOST, Family, free_port, new_mark, wait_until
from benchmarks.serving.run import tail
from benchmarks.store.questions import Request, clients

API = "api.main:create_app"
BARE = "benchmarks.store.bare:create_app"
POOL_SIZE = 10


@contextlib.contextmanager
def serve(factory: str, url: str, folder: Path) -> Iterator[int]:
    """One uvicorn process on a database, with the options of the local stack; yields its port."""
    port = free_port()
    environment = inherited(os.environ) | {
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": url,
        "API_DATABASE_POOL_SIZE": str(POOL_SIZE),
        "POOL_SIZE": str(POOL_SIZE),
        "API_LIMIT_READ": "off",  # the bare handler has none
        "API_LIMIT_WRITE": "off",
    }
    where = ["--host", HOST, "--port", str(port)]
    command = [sys.executable, "-m", "uvicorn", "--factory", factory, *where]
    log = folder / f"{factory.partition(':')[0]}.log"
    with Family(new_mark()) as family:
        # From a folder without an .env.
        family.start(command, environment, log, folder)
        wait(lambda: listens(port), family, log)
        yield port


def listens(port: int) -> bool:
    """Any answer will do: what the servers say is looked at later."""
    with contextlib.suppress(OSError), clients(port) as (client,):
        with contextlib.suppress(BenchmarkError):
            client.ask(Request("GET", "/"))
        return True
    return False


def wait(condition: Callable[[], bool], family: Family, log: Path) -> None:
    """Raises BenchmarkError with the end of the log."""
    try:
        wait_until(condition, family, 60)
    except BenchmarkError as error:
        raise BenchmarkError(f"{error}\n{tail(log.read_text(errors='replace'))}") from None
