"""`down`: stop every process of the stack, even if supervisord is dead. The data stays in var/."""

import contextlib
import http.client
import time
from xmlrpc.client import Fault

from deploy.local.processes import describe, stack_processes, stop
from deploy.local.settings import StackError
from deploy.local.supervision import Supervisor

SHUTDOWN_SECONDS = 40  # supervisord gives all services 15 seconds in parallel before it kills them


def bring_down(supervisor: Supervisor) -> int:
    """Stop all processes and return how many there were. Raises StackError if one survives."""
    count = len(stack_processes(supervisor.var))
    with contextlib.suppress(OSError, http.client.HTTPException, Fault):
        supervisor.call("shutdown")
        wait_for_exit(supervisor)
    stop_orphans(supervisor, "without a supervisor")
    return count


def wait_for_exit(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while stack_processes(supervisor.var) and time.monotonic() < deadline:
        time.sleep(0.1)


def stop_orphans(supervisor: Supervisor, origin: str) -> None:
    """Stop processes that no supervisord watches; remove its socket and pid file. Raises StackError."""
    if orphans := stack_processes(supervisor.var):
        print(f"stopping {len(orphans)} processes {origin}", flush=True)
        stop(orphans, grace=15)
    # Repeat: a process may have started another one in the meantime.
    if stop(stack_processes(supervisor.var), grace=5):
        survivors = ", ".join(map(describe, stack_processes(supervisor.var)))
        raise StackError(f"cannot stop {survivors}")
    supervisor.socket.unlink(missing_ok=True)
    supervisor.pidfile.unlink(missing_ok=True)
    if supervisor.socket.parent != supervisor.run:
        with contextlib.suppress(FileNotFoundError):
            supervisor.socket.parent.rmdir()
