"""Which processes are ours, who holds a port, and how to end processes for good.

Every process of the stack inherits an environment variable that names its var/ folder; that survives
whatever happens to supervisord and its pid files. PostgreSQL overwrites its environment with its title
but keeps its data folder as its current one.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from deploy.local.settings import HOST

STACK = "MOVIE_REVIEWS_STACK"
SERVICE = "MOVIE_REVIEWS_SERVICE"


def ours(var: Path, service: str | None = None) -> list[psutil.Process]:
    """Living processes of the stack in `var` (of one service, if named), but the caller and its parents."""
    caller = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in living() if process.pid not in caller and belongs(process, var, service)]


def living() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def belongs(process: psutil.Process, var: Path, service: str | None) -> bool:
    """Unreadable processes are another user's, so not ours."""
    try:
        if process.name() == "postgres" and process.cwd() == str(var / "postgres"):
            return service in (None, "postgres")
        environment = process.environ()
    except (psutil.Error, OSError):
        return False
    return environment.get(STACK) == str(var) and service in (None, environment.get(SERVICE))


def stop(processes: Iterable[psutil.Process], grace: float) -> list[psutil.Process]:
    """End processes: ask, wait up to `grace` seconds, kill. Returns those that are still there."""
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            # PostgreSQL on SIGTERM waits for its clients; SIGINT is its fast and clean shutdown.
            process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=grace)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return list(psutil.wait_procs(alive, timeout=5)[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def listeners(port: int) -> list[psutil.Process]:
    """Processes that listen on a port, as far as we may see them."""
    with contextlib.suppress(psutil.Error):  # macOS shows connections to root only
        pids = {
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.pid and connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        }
        return [process for process in living() if process.pid in pids]
    return []


def describe(process: psutil.Process) -> str:
    """`pid 123 (python -m http.server)`."""
    with contextlib.suppress(psutil.Error):
        words = " ".join(process.cmdline()) or process.name()
        return f"pid {process.pid} ({words if len(words) <= 80 else words[:77] + '...'})"
    return f"pid {process.pid}"
