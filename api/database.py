"""PostgreSQL: the connection pool, and one transaction per request."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar, cast

import asyncpg
from fastapi import Depends, Request
from sqlalchemy import AsyncAdaptedQueuePool, Connection, Engine, Row, Select, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import greenlet_spawn
from sqlmodel.ext.asyncio.session import AsyncSession

from api import metrics
from api.dsn import DRIVER
from api.errors import UnavailableError
from api.settings import Settings

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Statement = Select[*tuple[Any, ...]]
Rows = Sequence[Row[*tuple[Any, ...]]]

# Transient errors (PostgreSQL manual, appendix A): connection exceptions, invalid login or database,
# serialization failure or deadlock, insufficient resources, lock not available, operator intervention.
TRANSIENT_SQLSTATES = ("08", "28", "3D", "40", "53", "55P03", "57")

DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What `connect` and its connection raise when the database is unavailable.

The last one is raised when the server ends the session while a statement is being sent.
"""


class StatementError(Exception):
    """PostgreSQL rejected a statement, which is a fault of this code. The message can be logged."""

    def __init__(self, message: str, sqlstate: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def describe(error: Exception) -> str:
    """Return an error's type and message for a log, without values: they are texts and authors of reviews.

    PostgreSQL quotes values in DETAIL, which is left out, and in the messages of class 22 (data exceptions),
    which is also asyncpg's for an argument that it cannot encode.
    """
    cause = (isinstance(error, DBAPIError) and error.orig and error.orig.__cause__) or error
    name = type(cause).__name__
    if isinstance(cause, asyncpg.PostgresError):
        state = cause.sqlstate or ""
        return f"{name} ({state})" if state.startswith("22") else f"{name}: {cause.args[0]}"
    return f"{name}: {cause}" if isinstance(cause, (*DATABASE_ERRORS, PoolTimeout)) else name


async def connect(settings: Settings, application: str) -> asyncpg.Connection:
    """Open one connection for a process that serves no requests.

    It bypasses pgbouncer, because LISTEN does not work in pgbouncer's transaction mode.
    """
    return await asyncpg.connect(
        settings.session_url,
        timeout=settings.api_database_connect_timeout_seconds,
        command_timeout=settings.api_database_statement_timeout_seconds,
        server_settings={"application_name": application},
    )


APPLICATION_NAME = {"application_name": "movie-review-api"}

NO_STATEMENT_CACHE = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
"""Disables the caches of asyncpg and SQLAlchemy: a prepared statement belongs to one server connection."""


class Pool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool, which also counts the callers that wait for a connection."""

    waiting = 0

    def _do_get(self) -> ConnectionPoolEntry:
        self.waiting += 1
        try:
            return super()._do_get()
        finally:
            self.waiting -= 1


def create_engine(settings: Settings) -> AsyncEngine:
    """Create a pool with short timeouts, so that waiting callers do not prolong an outage.

    Connections are in autocommit mode: the ping at each checkout takes one round trip instead of three.
    """
    pgbouncer = settings.api_database_pgbouncer
    engine = create_async_engine(
        # asyncpg reads the DSN: SQLAlchemy would pass libpq's parameters to it one by one, as keywords.
        f"{DRIVER}://",
        poolclass=Pool,
        # Errors are logged, and the parameters are the texts and authors of reviews.
        hide_parameters=True,
        pool_size=settings.api_database_pool_size,
        max_overflow=0,
        pool_timeout=settings.api_database_pool_timeout_seconds,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED" if pgbouncer else "AUTOCOMMIT",
        connect_args={
            "dsn": settings.database_url,
            "timeout": settings.api_database_connect_timeout_seconds,
            # Later than the server's own statement_timeout: for a server that no longer responds.
            "command_timeout": settings.api_database_statement_timeout_seconds + 1,
            "server_settings": APPLICATION_NAME if pgbouncer else APPLICATION_NAME | _timeouts(settings),
            **(NO_STATEMENT_CACHE if pgbouncer else {}),
        },
    )
    if pgbouncer:
        _set_at_begin(engine, _timeouts(settings))
    _measure(engine)
    return engine


def _measure(engine: AsyncEngine) -> None:
    """Export the pool's metrics. `engine.pool` is read each time, because `dispose` replaces the pool."""

    def pool() -> Pool:
        return cast("Pool", engine.pool)

    metrics.POOL_SIZE.set_function(lambda: pool().size())
    metrics.POOL_CHECKED_OUT.set_function(lambda: pool().checkedout())
    metrics.POOL_WAITING.set_function(lambda: pool().waiting)


def _timeouts(settings: Settings) -> dict[str, str]:
    """Return PostgreSQL's timeout parameters, in milliseconds."""
    statement = f"{settings.api_database_statement_timeout_seconds * 1000:.0f}"
    return {
        "statement_timeout": statement,
        "idle_in_transaction_session_timeout": statement,
        "lock_timeout": f"{settings.api_database_lock_timeout_seconds * 1000:.0f}",
    }


def _set_at_begin(engine: AsyncEngine, server_settings: dict[str, str]) -> None:
    """Set the parameters per transaction: pgbouncer shares connections and rejects startup parameters."""
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in server_settings.items())

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT {calls}")


def create_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Create the session factory: transactions on the same pool."""
    engine = engine.execution_options(isolation_level="READ COMMITTED")
    return async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


async def _transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """Commit when the route returns, roll back when it raises; respond 503 to transient database errors."""
    sessions: async_sessionmaker[AsyncSession] = request.app.state.sessions
    with _transient_errors_as_503():
        async with sessions.begin() as session:
            yield session


# scope="function": commit before the response is sent, so that a client never sees an uncommitted review.
SessionDep = Annotated[AsyncSession, Depends(_transaction, scope="function")]


async def autocommit(request: Request, work: Callable[[Connection], Result]) -> Result:
    """Run `work` in autocommit mode, which saves the round trips of BEGIN and COMMIT.

    Its statements are committed whatever the route does later. The connection is returned to the pool.
    """
    engine: Engine = request.app.state.engine.sync_engine

    def run() -> Result:
        with engine.begin() as connection:
            return work(connection)

    with _transient_errors_as_503():
        # One greenlet in total. AsyncEngine starts one per call, and three cost as much as the calls.
        return await greenlet_spawn(run)


async def fetch_all(request: Request, statement: Statement, parameters: dict[str, object]) -> Rows:
    """Return all rows of one statement, run in autocommit mode."""
    return await autocommit(request, lambda connection: connection.execute(statement, parameters).all())


@contextmanager
def _transient_errors_as_503() -> Iterator[None]:
    """Convert transient database errors to UnavailableError, and others to StatementError."""
    try:
        yield
    except (OSError, PoolTimeout) as error:
        raise _unavailable(error) from error
    except DBAPIError as error:
        if error.connection_invalidated or _sqlstate(error).startswith(TRANSIENT_SQLSTATES):
            raise _unavailable(error) from error
        raise StatementError(describe(error), _sqlstate(error)).with_traceback(error.__traceback__) from None


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _unavailable(error: Exception) -> UnavailableError:
    log.warning("database: %s", describe(error))
    metrics.DATABASE_REFUSALS.labels(type(error).__name__).inc()
    return UnavailableError("The database is unavailable; try again later.")
