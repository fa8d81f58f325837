"""`down`: end every process of the stack, also when supervisord is gone. Data stays in var/."""

import contextlib
import http.client
import time
from xmlrpc.client import Fault

from deploy.local.processes import describe, ours, stop
from deploy.local.settings import StackError
from deploy.local.supervision import Supervisor

PATIENCE = 40  # seconds; supervisord gives each service 15 before it kills, in parallel


def bring_down(supervisor: Supervisor) -> int:
    """End everything; returns how many processes there were. Raises StackError if one stays."""
    count = len(ours(supervisor.var))
    with contextlib.suppress(OSError, http.client.HTTPException, Fault):
        supervisor.call("shutdown")
        wait_until_gone(supervisor)
    sweep(supervisor, "without a supervisor")
    return count


def wait_until_gone(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + PATIENCE
    while ours(supervisor.var) and time.monotonic() < deadline:
        time.sleep(0.1)


def sweep(supervisor: Supervisor, whose: str) -> None:
    """End processes that no supervisord watches any more, and drop its socket and pid file."""
    if orphans := ours(supervisor.var):
        print(f"ending {len(orphans)} processes {whose}", flush=True)
        stop(orphans, grace=15)
    # Once more: a process may have started another one in between.
    if stop(ours(supervisor.var), grace=5):
        raise StackError(f"still there: {', '.join(map(describe, ours(supervisor.var)))}")
    supervisor.socket.unlink(missing_ok=True)
    supervisor.pidfile.unlink(missing_ok=True)
    if supervisor.socket.parent != supervisor.run:
        with contextlib.suppress(FileNotFoundError):
            supervisor.socket.parent.rmdir()
