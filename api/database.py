"""PostgreSQL: the engine, and a session that is one transaction per request."""

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
from api.errors import UnavailableError
from api.settings import DRIVER, Settings

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Statement = Select[*tuple[Any, ...]]
Rows = Sequence[Row[*tuple[Any, ...]]]

# SQLSTATE classes and codes that say "not now" (PostgreSQL manual, appendix A): connection lost, login or
# database refused, serialization or deadlock, out of resources, lock not available, cancelled or shut down.
NOT_NOW = ("08", "28", "3D", "40", "53", "55P03", "57")

DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection of `connect` raises when the database cannot serve.

The last comes when the server ends the session just as a statement is sent.
"""


async def connect(settings: Settings, application: str) -> asyncpg.Connection:
    """One connection, of a process that serves no requests.

    Past pgbouncer, if there is one: in its transaction mode nobody would hear of a NOTIFY.
    """
    return await asyncpg.connect(
        settings.session_url.replace(DRIVER, "postgresql", 1),
        timeout=settings.api_database_connect_timeout_seconds,
        command_timeout=settings.api_database_statement_timeout_seconds,
        server_settings={"application_name": application},
    )


NAME = {"application_name": "movie-review-api"}

UNNAMED = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
"""No cache in asyncpg and in SQLAlchemy: a statement with a name is on one server connection alone."""


class Pool(AsyncAdaptedQueuePool):
    """SQLAlchemy's, which knows how many connections are in use, and not how many callers wait for one."""

    waiting = 0

    def _do_get(self) -> ConnectionPoolEntry:
        self.waiting += 1
        try:
            return super()._do_get()
        finally:
            self.waiting -= 1


def create_engine(settings: Settings) -> AsyncEngine:
    """A pool that gives up in seconds: waiting callers would only make an outage longer.

    Its connections are in autocommit: the ping at each checkout then takes one round trip instead of three.
    """
    pgbouncer = settings.api_database_pgbouncer
    engine = create_async_engine(
        settings.database_url,
        poolclass=Pool,
        pool_size=settings.api_database_pool_size,
        max_overflow=0,
        pool_timeout=settings.api_database_pool_timeout_seconds,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED" if pgbouncer else "AUTOCOMMIT",
        connect_args={
            "timeout": settings.api_database_connect_timeout_seconds,
            # The server cancels a slow statement first; this catches a server that no longer answers.
            "command_timeout": settings.api_database_statement_timeout_seconds + 1,
            "server_settings": NAME if pgbouncer else NAME | _timeouts(settings),
            **(UNNAMED if pgbouncer else {}),
        },
    )
    if pgbouncer:
        _begin_with(engine, _timeouts(settings))
    _measure(engine)
    return engine


def _measure(engine: AsyncEngine) -> None:
    """Asked anew of the engine, since a pool that is disposed of is replaced."""

    def pool() -> Pool:
        return cast("Pool", engine.pool)

    metrics.POOL_SIZE.set_function(lambda: pool().size())
    metrics.POOL_CHECKED_OUT.set_function(lambda: pool().checkedout())
    metrics.POOL_WAITING.set_function(lambda: pool().waiting)


def _timeouts(settings: Settings) -> dict[str, str]:
    """PostgreSQL's own, in milliseconds."""
    statement = f"{settings.api_database_statement_timeout_seconds * 1000:.0f}"
    return {
        "statement_timeout": statement,
        "idle_in_transaction_session_timeout": statement,
        "lock_timeout": f"{settings.api_database_lock_timeout_seconds * 1000:.0f}",
    }


def _begin_with(engine: AsyncEngine, server_settings: dict[str, str]) -> None:
    """Give them to each transaction alone: pgbouncer refuses them of a connection, which others share."""
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in server_settings.items())

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT {calls}")


def create_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions on the same pool, in transactions."""
    engine = engine.execution_options(isolation_level="READ COMMITTED")
    return async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


async def _transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """Commits when the route returns, rolls back when it raises; 503 when the database cannot serve now."""
    sessions: async_sessionmaker[AsyncSession] = request.app.state.sessions
    with _now_or_503():
        async with sessions.begin() as session:
            yield session


# scope="function": the commit comes before the answer, so no client hears of a review that was not kept.
SessionDep = Annotated[AsyncSession, Depends(_transaction, scope="function")]


async def at_once(request: Request, work: Callable[[Connection], Result]) -> Result:
    """What `work` gives, of statements that are transactions by themselves: no BEGIN and COMMIT to wait for.

    What it did stays, whatever the route does; the connection is back in the pool when this returns.
    """
    engine: Engine = request.app.state.engine.sync_engine

    def worked() -> Result:
        with engine.begin() as connection:
            return work(connection)

    with _now_or_503():
        # One greenlet, where AsyncEngine takes one a call: three of them cost as much as the calls.
        return await greenlet_spawn(worked)


async def read(request: Request, statement: Statement, parameters: dict[str, object]) -> Rows:
    """All rows of one statement, at once."""
    return await at_once(request, lambda connection: connection.execute(statement, parameters).all())


@contextmanager
def _now_or_503() -> Iterator[None]:
    """Make what says "not now" an UnavailableError."""
    try:
        yield
    except (OSError, PoolTimeout) as error:
        raise _unavailable(error) from error
    except DBAPIError as error:
        if not (error.connection_invalidated or _sqlstate(error).startswith(NOT_NOW)):
            raise
        raise _unavailable(error) from error


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _unavailable(error: Exception) -> UnavailableError:
    log.warning("database: %s: %s", type(error).__name__, error)
    metrics.DATABASE_REFUSALS.labels(type(error).__name__).inc()
    return UnavailableError("The database cannot answer now; try again.")
