"""Functions that several processes run at the same moment, on one MLflow store.

The processes are forked from multiprocessing's server, which has imported this module and thus MLflow.
Otherwise each of them would import MLflow, for several seconds. tests/warm_stages forks commands only.
"""

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import mlflow
import optuna
from mlflow import MlflowClient

from pipelines.core.mlflow_store import connect
from pipelines.experiments.optuna_storage import open_storage
from pipelines.register.registry import register
from tests.pipelines.runs import log
from tests.project import ROOT

TIMEOUT_SECONDS = 600
"""After which a process is considered to hang."""


def run_concurrently(target: Callable[..., None], *arguments: tuple[Any, ...]) -> list[Any]:
    """Run `target` in one process per tuple of arguments, and return what each of them sends.

    The target receives a barrier, the connection to send to, and the arguments.
    """
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with contextlib.chdir(ROOT):  # so that the server can import `tests`
        forkserver.ensure_running()
    barrier = context.Barrier(len(arguments))
    pipes = [context.Pipe(duplex=False) for _ in arguments]
    processes = [
        context.Process(target=target, args=(barrier, sender, *own))
        for own, (_, sender) in zip(arguments, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT_SECONDS)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return [receiver.recv() for receiver, _ in pipes]


def register_run(barrier: Barrier, sender: Connection, uri: str, accuracy: float | None, run_id: str) -> None:
    """Log a run with this accuracy, or if it is None take `run_id`; register, and send the version."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    barrier.wait(TIMEOUT_SECONDS)
    if accuracy is not None:
        run = log(client, accuracy=accuracy)
    version, _ = register(client, run, refuse_dirty=False)
    sender.send(version.version)


def open_store(barrier: Barrier, sender: Connection, folder: str) -> None:
    """Open the default store of the project in `folder` and send the names of its experiments."""
    os.chdir(folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    barrier.wait(TIMEOUT_SECONDS)
    sender.send([experiment.name for experiment in connect().search_experiments()])


def run_waiting_trials(barrier: Barrier, sender: Connection, url: str) -> None:
    """Run trials of the study `s` until none is waiting, and send the param of each."""
    study = optuna.load_study(storage=open_storage(url), study_name="s")
    values = []
    barrier.wait(TIMEOUT_SECONDS)
    while any(trial.state.name == "WAITING" for trial in study.get_trials(deepcopy=False)):
        trial = study.ask()
        values.append(trial.suggest_int("x", 0, 10**9))
        study.tell(trial, 0.0)
    sender.send(values)
