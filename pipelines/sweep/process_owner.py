"""Who runs a trial, so that others can see whether it still runs."""

import os
import socket
from typing import Any

import psutil
from optuna.trial import FrozenTrial


def owner() -> dict[str, Any]:
    """This process, for others to see whether it still runs."""
    return {"machine": machine(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def machine() -> str:
    """The host, and where it has them the namespace of process ids: a container's are others."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def is_dead(trial: FrozenTrial) -> bool:
    """Whether the trial's process was on this machine, and is gone."""
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
    """Whether the process still is the `dvc exp run` of this name: ids are used again."""
    try:
        return name in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False
