"""Where a sweep's trials are kept: Optuna's tables, in the database that MLflow keeps its runs in."""

import os
import warnings
from collections.abc import Callable
from typing import Any

import mlflow
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, event
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError

from pipelines.core.errors import PipelineError

HEARTBEAT_SECONDS = 5
GRACE_SECONDS = 30
LOCK_SECONDS = 60

OnStale = Callable[[optuna.Study, FrozenTrial], None]


def storage_url() -> str:
    """SWEEP_DATABASE, else MLflow's own database. Raises PipelineError when that is behind a server."""
    url = os.environ.get("SWEEP_DATABASE") or mlflow.get_tracking_uri()
    if url.startswith(("http:", "https:", "file:")) or "://" not in url:
        raise PipelineError(
            f"a sweep keeps its trials in a database, and MLflow's is behind {url}: set SWEEP_DATABASE to "
            "one that every machine of the sweep reaches, best the server's own (postgresql+psycopg://...)"
        )
    return url


def open_storage(url: str, on_stale: OnStale | None = None) -> RDBStorage:
    """Optuna's storage in the database `url`, its tables made beside MLflow's.

    MLflow and Optuna both use a table `alembic_version`. Where MLflow's is there already Optuna leaves it
    alone, if it is not asked to compare it with its own versions. Raises PipelineError when there is no
    such database.
    """
    sqlite = url.startswith("sqlite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the heartbeat
        try:
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}}
                if sqlite
                else {"pool_pre_ping": True},
                skip_compatibility_check=True,
                # Who runs trials sends it, and looks for those who no longer do.
                heartbeat_interval=HEARTBEAT_SECONDS if on_stale else None,
                grace_period=GRACE_SECONDS if on_stale else None,
                heartbeat_stale_trial_callback=on_stale,
            )
        except (ArgumentError, ImportError, OperationalError, ProgrammingError) as error:
            first = str(error).splitlines()[0]
            raise PipelineError(
                f"no sweep can be kept in the database: {first} Set SWEEP_DATABASE."
            ) from None
    if sqlite:
        take_turns(storage.engine)
    return storage


def take_turns(engine: Engine) -> None:
    """Let a transaction on SQLite begin by taking the write lock.

    Python's driver begins one at the first write: of two processes that both read that a trial is waiting,
    both would then run it.
    """

    @event.listens_for(engine, "connect")
    def _leave_beginning_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before would not know


def pruner(startup: int) -> BasePruner:
    """Ends a trial that after as much of its training is below the median of the finished ones."""
    return MedianPruner(n_startup_trials=startup)
