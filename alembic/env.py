"""Runs the migrations, or prints their SQL with `--sql`.

A statement that waits for a table lock blocks all later statements on that table. So migrations use a short
lock timeout and are retried. Concurrent upgrades run one after the other.
"""

import asyncio
import logging
from logging.config import fileConfig

import asyncpg
import stamina
from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from api import settings
from api.dsn import DRIVER

LOCK_TIMEOUT = "1s"
"""Less than API_DATABASE_LOCK_TIMEOUT_SECONDS: a request blocked by a migration is delayed, not rejected."""

TRIES = "15"
"""Attempts while a table is locked, within a bit more than a minute. Set with `alembic -x tries=NUMBER`."""

LOCKED_SQLSTATES = ("55P03", "40P01")
"""lock_not_available and deadlock_detected."""

ADVISORY_LOCK = 5_318_008_471
"""The key of the advisory lock that serializes upgrades: an arbitrary number."""

HOLDER = """
SELECT relname, pid, coalesce(nullif(application_name, ''), backend_type) AS name,
    coalesce(state, '') AS state, coalesce(extract(epoch FROM now() - xact_start)::int, 0) AS seconds
FROM pg_locks JOIN pg_stat_activity USING (pid) JOIN pg_class ON pg_class.oid = relation
WHERE granted AND datname = current_database() AND pid <> pg_backend_pid()
    AND relkind = 'r' AND relnamespace = current_schema()::regnamespace
ORDER BY xact_start, relname LIMIT 1
"""

if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)
log = logging.getLogger("alembic.env")


class BusyError(Exception):
    """A table is locked; the message names the table and the holder of the lock."""


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=SQLModel.metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_online() -> None:
    # Not the engine of the API, whose statement timeout is too short for a migration.
    engine = create_async_engine(
        f"{DRIVER}://",
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={
            "dsn": settings.load().session_url,
            "server_settings": {"application_name": "movie-review-migrations", "lock_timeout": LOCK_TIMEOUT},
        },
    )
    try:
        await migrate_with_retries(engine)
    finally:
        await engine.dispose()


async def migrate_with_retries(engine: AsyncEngine) -> None:
    """Migrate; while a table is locked, try again from the revision that failed."""
    tries = parse_tries(context.get_x_argument(as_dictionary=True).get("tries", TRIES))
    stamina.instrumentation.set_on_retry_hooks([])  # migrate_once logs the reason
    try:
        async for attempt in stamina.retry_context(
            on=BusyError, attempts=tries, timeout=None, wait_initial=0.5
        ):
            with attempt:
                await migrate_once(engine)
    except BusyError as error:
        raise SystemExit(
            f"alembic: {error}; gave up after {tries} tries. Wait for it to end or call "
            "pg_terminate_backend(pid), then run this command again: it resumes at the revision that failed."
        ) from None


def parse_tries(value: object) -> int:
    if isinstance(value, str) and value.isdecimal() and int(value):
        return int(value)
    raise SystemExit(f"alembic: -x tries={value} is not a number of at least 1")


async def migrate_once(engine: AsyncEngine) -> None:
    """Raises BusyError if a table is locked."""
    try:
        async with engine.connect() as connection:
            await acquire_advisory_lock(connection)
            await connection.run_sync(migrate)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in LOCKED_SQLSTATES:
            raise
        busy = BusyError(await describe_lock_holder(engine))
        log.warning("%s", busy)
        raise busy from error


async def acquire_advisory_lock(connection: AsyncConnection) -> None:
    """Wait for a running upgrade, if any; the lock is released when the connection closes.

    Polls, because a blocking statement holds a snapshot, and CREATE INDEX CONCURRENTLY waits for every older
    snapshot: the two upgrades would deadlock.
    """
    session: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
    is_waiting = False
    while not await session.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK):
        if not is_waiting:
            log.info("Waiting for another upgrade to end")
        is_waiting = True
        await asyncio.sleep(0.2)


async def describe_lock_holder(engine: AsyncEngine) -> str:
    """Describe the oldest transaction that holds a lock on one of the service's tables."""
    async with engine.connect() as connection:
        holder = (await connection.execute(text(HOLDER))).one_or_none()
    if holder is None:
        return "a table is busy"
    return (
        f"table {holder.relname} is busy: pid {holder.pid} ({holder.name}, {holder.state}) "
        f"has been in a transaction for {holder.seconds} seconds"
    )


def migrate_offline() -> None:
    """Print the SQL. Run it with PGOPTIONS='-c lock_timeout=1s'; it has no retries."""
    context.configure(url=f"{DRIVER}://", target_metadata=SQLModel.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    migrate_offline()
else:
    asyncio.run(migrate_online())
