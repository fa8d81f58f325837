"""Storage of a sweep's trials: Optuna's tables, by default in MLflow's database."""

import os
from collections.abc import Callable
from typing import Any

import mlflow
import optuna
from optuna.pruners import BasePruner, MedianPruner
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, event
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError

from pipelines.core.errors import PipelineError
from pipelines.experiments.optuna_warnings import ignore_experimental

HEARTBEAT_SECONDS = 5
GRACE_SECONDS = 30
LOCK_SECONDS = 60

OnStale = Callable[[optuna.Study, FrozenTrial], None]


def storage_url() -> str:
    """Return SWEEP_DATABASE or MLflow's database. Raises PipelineError if MLflow is a server."""
    url = os.environ.get("SWEEP_DATABASE") or mlflow.get_tracking_uri()
    if url.startswith(("http:", "https:", "file:")) or "://" not in url:
        raise PipelineError(
            f"a sweep stores its trials in a database, but MLflow's is behind the server {url}: set "
            "SWEEP_DATABASE to one that every machine of the sweep can reach, preferably the server's own "
            "(postgresql+psycopg://...)"
        )
    return url


def open_storage(url: str, on_stale: OnStale | None = None) -> RDBStorage:
    """Open Optuna's storage in the database `url`, creating its tables if necessary.

    MLflow and Optuna both use a table `alembic_version`. With the compatibility check skipped, Optuna leaves
    MLflow's table unchanged. Raises PipelineError if the database is not available.
    """
    sqlite = url.startswith("sqlite")
    with ignore_experimental():  # the heartbeat is experimental
        try:
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}}
                if sqlite
                else {"pool_pre_ping": True},
                skip_compatibility_check=True,
                # Processes that run trials send heartbeats and detect those that stopped.
                heartbeat_interval=HEARTBEAT_SECONDS if on_stale else None,
                grace_period=GRACE_SECONDS if on_stale else None,
                heartbeat_stale_trial_callback=on_stale,
            )
        except (ArgumentError, ImportError, OperationalError, ProgrammingError) as error:
            first = str(error).splitlines()[0]
            raise PipelineError(
                f"the sweep's database is not available: {first} Set SWEEP_DATABASE."
            ) from None
    if sqlite:
        begin_immediately(storage.engine)
    return storage


def begin_immediately(engine: Engine) -> None:
    """Make SQLite transactions take the write lock when they begin.

    By default, Python's driver begins a transaction at the first write, so two processes could both read
    that a trial is waiting, and both run it.
    """

    @event.listens_for(engine, "connect")
    def _disable_implicit_begin(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # existing connections lack the listeners


def pruner(startup: int) -> BasePruner:
    """Return a pruner for trials below the median of the finished ones at the same share of training."""
    return MedianPruner(n_startup_trials=startup)
