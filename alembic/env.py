"""Runs the migrations against the database, or prints their SQL with `--sql`.

Whoever wants a table after a statement that waits for its lock, waits too. So no statement waits for long: it
gives up, and the migration is tried again later. Of two upgrades at a time the second waits for the first.
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

LOCK_TIMEOUT = "1s"
"""Less than API_DATABASE_LOCK_TIMEOUT_SECONDS: a request that waits behind us is late, not refused."""

TRIES = "15"
"""While a table is busy, in a bit more than a minute. `alembic -x tries=NUMBER upgrade head` sets others."""

BUSY = ("55P03", "40P01")
"""SQLSTATEs: a lock is not to be had, or only in a circle."""

TURN = 5_318_008_471
"""The advisory lock of whoever migrates: any number that nobody else takes."""

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
    """Somebody else holds a lock; the message says who, and on what."""


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=SQLModel.metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_online() -> None:
    # Not the engine of the API: a migration may take longer than a request's statement.
    engine = create_async_engine(
        settings.load().session_url,
        poolclass=NullPool,
        connect_args={
            "server_settings": {"application_name": "movie-review-migrations", "lock_timeout": LOCK_TIMEOUT}
        },
    )
    try:
        await patiently(engine)
    finally:
        await engine.dispose()


async def patiently(engine: AsyncEngine) -> None:
    """Migrate, again and again while a table is busy; each time from where the last one got to."""
    tries = number(context.get_x_argument(as_dictionary=True).get("tries", TRIES))
    stamina.instrumentation.set_on_retry_hooks([])  # we say it ourselves
    try:
        async for attempt in stamina.retry_context(
            on=BusyError, attempts=tries, timeout=None, wait_initial=0.5
        ):
            with attempt:
                await migrate_once(engine)
    except BusyError as error:
        raise SystemExit(
            f"alembic: {error}; tried {tries} times. Let that end, or end it with "
            "pg_terminate_backend(pid); then run this again: it goes on from where it got to."
        ) from None


def number(value: object) -> int:
    if isinstance(value, str) and value.isdecimal() and int(value):
        return int(value)
    raise SystemExit(f"alembic: -x tries={value} is not a number of at least 1")


async def migrate_once(engine: AsyncEngine) -> None:
    """Raises BusyError when a lock is not to be had."""
    try:
        async with engine.connect() as connection:
            await take_turn(connection)
            await connection.run_sync(migrate)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in BUSY:
            raise
        busy = BusyError(await who_is_busy(engine))
        log.warning("%s", busy)
        raise busy from error


async def take_turn(connection: AsyncConnection) -> None:
    """Wait for the upgrade that is running, if there is one; the turn ends with the connection.

    By asking again and again: a statement that waits holds a snapshot, and CREATE INDEX CONCURRENTLY waits
    for all of those, so that each would wait for the other.
    """
    session: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
    waits = False
    while not await session.fetchval("SELECT pg_try_advisory_lock($1)", TURN):
        if not waits:
            log.info("Waiting for another upgrade to end")
        waits = True
        await asyncio.sleep(0.2)


async def who_is_busy(engine: AsyncEngine) -> str:
    """The transaction that has held a lock on one of our tables for longest."""
    async with engine.connect() as connection:
        holder = (await connection.execute(text(HOLDER))).one_or_none()
    if holder is None:
        return "a table is busy"
    return (
        f"table {holder.relname} is busy: pid {holder.pid} ({holder.name}, {holder.state}) "
        f"is in a transaction of {holder.seconds} seconds"
    )


def migrate_offline() -> None:
    """Run the script with PGOPTIONS='-c lock_timeout=1s': it does not try again by itself."""
    context.configure(url=settings.load().session_url, target_metadata=SQLModel.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    migrate_offline()
else:
    asyncio.run(migrate_online())
