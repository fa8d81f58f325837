"""Identity of the process that runs a trial, so that other processes can check whether it is alive."""

import os
import socket
from typing import Any

import psutil
from optuna.trial import FrozenTrial


def owner() -> dict[str, Any]:
    """Return this process's machine, id and start time, for the trial's attributes."""
    return {"machine": machine(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def machine() -> str:
    """Return the host and, if available, the process id namespace, which differs between containers."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def is_dead(trial: FrozenTrial) -> bool:
    """Return whether the trial's process ran on this machine and no longer exists."""
    if trial.user_attrs.get("machine") != machine():
        return False
    try:
        found = psutil.Process(trial.user_attrs["pid"])
        return bool(
            abs(found.create_time() - trial.user_attrs["began"]) > 1 or found.status() == psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return True


def is_experiment(pid: int, name: str) -> bool:
    """Return whether the process is the `dvc exp run` of this name, since process ids are reused."""
    try:
        return name in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False
