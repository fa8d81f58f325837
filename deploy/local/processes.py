"""Find the processes of a stack, find who holds a port, and stop processes reliably.

Every process of the stack inherits an environment variable that names its var/ folder. Unlike supervisord
and its pid files, the variable cannot get lost. PostgreSQL overwrites its environment with its title, but
its working directory is its data folder.
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


def stack_processes(var: Path, service: str | None = None) -> list[psutil.Process]:
    """Return the stack's live processes, or those of one service, except the caller and its parents."""
    caller = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in live_processes()
        if process.pid not in caller and belongs(process, var, service)
    ]


def live_processes() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def belongs(process: psutil.Process, var: Path, service: str | None) -> bool:
    """Whether a process is part of the stack. One that cannot be inspected belongs to another user."""
    try:
        if process.name() == "postgres" and process.cwd() == str(var / "postgres"):
            return service in (None, "postgres")
        environment = process.environ()
    except (psutil.Error, OSError):
        return False
    return environment.get(STACK) == str(var) and service in (None, environment.get(SERVICE))


def stop(processes: Iterable[psutil.Process], grace: float) -> list[psutil.Process]:
    """Terminate processes, kill them after `grace` seconds, and return those that survive."""
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            # On SIGTERM, PostgreSQL waits for its clients to disconnect; SIGINT is its fast shutdown.
            process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=grace)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return list(psutil.wait_procs(alive, timeout=5)[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Servers set it as well, so a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def listeners(port: int) -> list[psutil.Process]:
    """Return the processes that listen on a port, as far as the caller may see them."""
    with contextlib.suppress(psutil.Error):  # macOS shows connections to root only
        pids = {
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.pid and connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        }
        return [process for process in live_processes() if process.pid in pids]
    return []


def describe(process: psutil.Process) -> str:
    """Format a process as `pid 123 (python -m http.server)`."""
    with contextlib.suppress(psutil.Error):
        words = " ".join(process.cmdline()) or process.name()
        return f"pid {process.pid} ({words if len(words) <= 80 else words[:77] + '...'})"
    return f"pid {process.pid}"
