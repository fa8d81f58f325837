"""Runs the API, or the baseline that it is compared with, on a database."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import BenchmarkError
from benchmarks.processes import HOST, ROOT, ProcessTree, clean_environment, free_port
from benchmarks.store.queries import Request, clients

API = "api.main:create_app"
BASELINE = "benchmarks.store.baseline:create_app"
POOL_SIZE = 10
READY_SECONDS = 60


@contextlib.contextmanager
def serve(factory: str, url: str, folder: Path) -> Iterator[int]:
    """Run one uvicorn process with the options of the local stack; yield its port."""
    port = free_port()
    environment = clean_environment() | {
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": url,
        "API_DATABASE_POOL_SIZE": str(POOL_SIZE),
        "POOL_SIZE": str(POOL_SIZE),
        "API_LIMIT_READ": "off",  # the baseline has no limits
        "API_LIMIT_WRITE": "off",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", factory, "--host", HOST, "--port", str(port)]
    log = folder / f"{factory.partition(':')[0]}.log"
    with ProcessTree() as processes:
        # The folder has no .env.
        processes.start(command, environment, log, folder)
        processes.wait_until(lambda: is_listening(port), READY_SECONDS)
        yield port


def is_listening(port: int) -> bool:
    """Return whether the server responds, with whatever status."""
    with contextlib.suppress(OSError), clients(port) as (client,):
        with contextlib.suppress(BenchmarkError):
            client.send(Request("GET", "/"))
        return True
    return False
