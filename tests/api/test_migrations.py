"""The migrations: up, down, with data, and while other clients write."""

import argparse
import asyncio
import io
import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

import api.main  # noqa: F401 (the tables)
from tests.api.test_movies import assert_exact
from tests.api.waiting import until
from tests.postgres import ROOT, NewDatabase, alembic, connected, migrate

INSERT = (
    "INSERT INTO review (id, movie_id, author, text, revision, created_at, updated_at, {columns})"
    " VALUES (gen_random_uuid(), 'tt1', 'a', 't', 1, now(), now(), {values})"
)


async def test_the_command_upgrades_an_empty_database_and_detects_drift(new_database: NewDatabase) -> None:
    url = await new_database()
    done = alembic(url, "upgrade", "head")
    assert done.returncode == 0, done.stderr
    await migrate(url, "check")
    async with connected(url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM review") == 0
        await connection.execute("DROP INDEX review_newest")
    drifted = alembic(url, "check")
    assert drifted.returncode == 255
    assert "review_newest" in drifted.stdout + drifted.stderr


async def test_every_generated_column_is_stored(new_database: NewDatabase, migrated: str) -> None:
    """PostgreSQL 18 would make it virtual by default, and a virtual column can have no index."""
    computed = {
        (table.name, column.name): column.computed.persisted
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if column.computed is not None
    }
    assert computed
    assert all(computed.values()), "as the migration"
    async with connected(await new_database(migrated)) as connection:
        generated = await connection.fetch(
            "SELECT relname, attname, attgenerated FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
            " WHERE attgenerated <> ''"
        )
    assert {(table, column): kind for table, column, kind in generated} == dict.fromkeys(computed, b"s")


async def test_downgrade_leaves_nothing_and_upgrade_works_again(
    new_database: NewDatabase, migrated: str
) -> None:
    url = await new_database(migrated)
    await migrate(url, "downgrade", "base")
    async with connected(url) as connection:
        left = await connection.fetch(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'public' AND relname NOT LIKE 'alembic_version%'"
        )
        assert left == []
        await migrate(url, "upgrade", "head")
        await migrate(url, "check")
        assert await connection.fetchval("SELECT count(*) FROM review") == 0


async def test_reviews_of_the_first_version_are_queued_and_counted(
    new_database: NewDatabase, first_revision: str
) -> None:
    """Reviews written by the first version of the service survive the upgrade and the downgrade."""
    url = await new_database(first_revision)
    async with connected(url) as connection:
        for rating in ("9", "4", "NULL"):
            await connection.execute(INSERT.format(columns="rating", values=rating))
        await migrate(url)
        assert await connection.fetchval("SELECT count(*) FROM review WHERE analyze_after <= now()") == 3
        for table in ("movie", "movie_month"):
            (row,) = await connection.fetch(f"SELECT reviews, ratings, rating_sum FROM {table}")  # noqa: S608
            assert tuple(row) == (3, 2, 13)
        await migrate(url, "downgrade", "0001")
        assert await connection.fetchval("SELECT count(*) FROM review") == 3


async def test_sql_mode_prints_the_statements(database_url: str) -> None:
    printed = io.StringIO()
    await migrate(database_url, "upgrade", "head", sql=True, output_buffer=printed)
    assert "CREATE TABLE review" in printed.getvalue()


async def test_an_invalid_database_url_is_reported_in_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^DATABASE_URL starts with sqlite://[^\n]*\n"):
        await migrate("sqlite:///reviews.db")


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("rating", "0"),
        ("rating", "11"),
        ("sentiment_label", "'positive'"),
        ("sentiment_label, sentiment_score, sentiment_model_version", "'neutral', 0.5, '1'"),
        ("sentiment_label, sentiment_score, sentiment_model_version", "'positive', 1.5, '1'"),
    ],
)
async def test_constraints_reject_invalid_rows(sql: asyncpg.Connection, columns: str, values: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.execute(INSERT.format(columns=columns, values=values))


@pytest.mark.parametrize(
    ("column", "value"),
    [("movie_id", "''"), ("author", "''"), ("text", "''"), ("text", "repeat('x', 20001)")],
)
async def test_constraints_match_the_limits_of_the_api(
    sql: asyncpg.Connection, column: str, value: str
) -> None:
    await sql.execute("TRUNCATE review")
    await sql.execute(INSERT.format(columns="rating", values="5"))
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.execute(f"UPDATE review SET {column} = {value}")  # noqa: S608


# With data, and while others write

EARLIER = [
    script.revision for script in ScriptDirectory(ROOT / "alembic").walk_revisions() if not script.is_head
]
BEFORE = """
INSERT INTO review (id, movie_id, author, text, rating, revision, created_at, updated_at,
    sentiment_label, sentiment_score, sentiment_model_version)
SELECT gen_random_uuid(), 'tt' || n % 50, 'before', 't', nullif(n % 11, 0), 1, moment, moment,
    label, CASE WHEN label IS NOT NULL THEN 0.9 END, CASE WHEN label IS NOT NULL THEN '1' END
FROM (
    SELECT n, '2025-03-31 23:30Z'::timestamptz + n * interval '6 hours' AS moment,
        (ARRAY['positive', 'negative', NULL])[n % 3 + 1] AS label
    FROM generate_series(1, $1::int) AS n
) AS rows
"""
# Slows down the migration as if there were millions of reviews.
SLOW = """
CREATE FUNCTION public.date_trunc(text, timestamp) RETURNS timestamp LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') = 'movie-review-migrations' THEN PERFORM pg_sleep(0.002); END IF;
    RETURN pg_catalog.date_trunc($1, $2);
END $$
"""
WRITERS = 4
API_TIMEOUTS = {"lock_timeout": "3s", "statement_timeout": "5s"}
"""The defaults of the API."""

MIGRATING = "FROM pg_stat_activity WHERE application_name = 'movie-review-migrations'"

Reviews = dict[UUID, tuple[str, int | None]]
"""Movie and rating by id."""


@pytest.fixture(scope="session")
async def first_revision(new_database: NewDatabase) -> str:
    """The URL of an empty database at revision 0001: a template, never to be written to."""
    url = await new_database()
    await migrate(url, "upgrade", "0001")
    return url


@pytest.fixture
async def old(new_database: NewDatabase, first_revision: str) -> str:
    """The URL of a database at revision 0001 with 2,000 reviews."""
    url = await new_database(first_revision)
    async with connected(url) as connection:
        await connection.execute(BEFORE, 2000)
    return url


def upgrade(url: str, *words: str) -> asyncio.Task[subprocess.CompletedProcess[str]]:
    """Start the alembic command, `upgrade head` by default, in a process."""
    return asyncio.create_task(asyncio.to_thread(alembic, url, *(words or ("upgrade", "head"))))


async def stored(connection: asyncpg.Connection) -> Reviews:
    rows = await connection.fetch("SELECT id, movie_id, rating FROM review")
    return {row["id"]: (row["movie_id"], row["rating"]) for row in rows}


async def write(url: str, seed: int, own: Reviews, stop: asyncio.Event) -> None:
    """Insert, update and delete reviews until `stop` is set; `own` tracks the expected rows.

    A statement that waits longer than the API's timeouts is an error.
    """
    order = random.Random(seed)
    async with connected(url, server_settings=API_TIMEOUTS) as connection:
        while not stop.is_set():
            action, rating = order.random(), order.choice((None, 1, 5, 10))
            id_, movie_id = order.choice(list(own)), f"tt{order.randrange(55)}"
            if action < 0.4:
                id_ = uuid4()
                await connection.execute(
                    "INSERT INTO review"
                    " (id, movie_id, author, text, rating, revision, created_at, updated_at)"
                    " VALUES ($1, $2, 'writer', 't', $3, 1, now(), now())",
                    *(id_, movie_id, rating),
                )
                own[id_] = movie_id, rating
            elif action < 0.8:
                several = order.sample(list(own), min(20, len(own)))
                await connection.execute(
                    "UPDATE review SET rating = $2, sentiment_label = 'positive', sentiment_score = 1,"
                    " sentiment_model_version = '2' WHERE id = ANY($1)",
                    *(several, rating),
                )
                own.update({id_: (own[id_][0], rating) for id_ in several})
            elif len(own) > 1:
                await connection.execute("DELETE FROM review WHERE id = $1", id_)
                del own[id_]
            await asyncio.sleep(0.002)


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[None]:
    """Write concurrently during the block; afterwards check every write and the statistics."""
    async with connected(url) as connection:
        everything = list((await stored(connection)).items())
        owned = [dict(everything[number::WRITERS]) for number in range(WRITERS)]
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as writers:
            for seed, own in enumerate(owned):
                writers.create_task(write(url, seed, own, stop))
            yield
            stop.set()
        assert await stored(connection) == {id_: row for own in owned for id_, row in own.items()}
        await assert_exact(connection)


async def test_clients_write_during_a_slow_migration(old: str) -> None:
    """Counting takes longer than the lock timeout of a writer, so it must not hold a lock."""
    async with connected(old) as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog; {SLOW}")
    async with writing(old):
        await migrate(old)


@pytest.mark.parametrize("revision", EARLIER)
async def test_upgrade_from_every_revision_keeps_and_counts_the_reviews(
    new_database: NewDatabase, first_revision: str, revision: str
) -> None:
    url = await new_database(first_revision)
    await migrate(url, "upgrade", revision)
    async with connected(url) as connection:
        await connection.execute(BEFORE, 300)
        await connection.execute("UPDATE review SET rating = 3 WHERE rating = 4")
        await connection.execute("DELETE FROM review WHERE rating = 5")
        before = [row[0] for row in await connection.fetch("SELECT to_jsonb(review) FROM review")]
        await migrate(url)
        same = "SELECT count(*) FROM review JOIN unnest($1::jsonb[]) AS before ON to_jsonb(review) @> before"
        assert await connection.fetchval(same, before) == len(before) == len(await stored(connection))
        await assert_exact(connection)
    await migrate(url, "check")


async def test_counted_reviews_are_not_counted_again(old: str) -> None:
    """An older version of revision 0003 counted them itself."""
    writers = "SELECT movie_id, xmin::text FROM movie ORDER BY movie_id"
    await migrate(old, "upgrade", "0005")
    async with connected(old) as connection:
        before = await connection.fetch(writers)
        for words in (("stamp", "0004"), ("upgrade", "0005")):
            await migrate(old, *words)
        await assert_exact(connection)
        assert await connection.fetch(writers) == before, "nothing was missing, so nothing was written"


async def test_many_reviews_are_counted_in_batches(old: str) -> None:
    """Each batch is a short transaction that locks the rows of a few movies."""
    async with connected(old) as connection:
        await connection.execute(BEFORE, 25_000)
        async with writing(old):
            await migrate(old)
        await connection.execute("TRUNCATE movie, movie_month")
        for words in (("stamp", "0004"), ("upgrade", "0005")):
            await migrate(old, *words)
        await assert_exact(connection)
        for table in ("movie", "movie_month"):
            parts = f"SELECT count(DISTINCT xmin::text) FROM {table}"  # noqa: S608
            assert await connection.fetchval(parts) == 3


async def test_a_busy_table_is_retried_without_blocking_writers(
    old: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(old) as connection, connected(old) as reader, writing(old):
        reading = reader.transaction()
        await reading.start()
        await reader.execute("SELECT FROM review LIMIT 1")
        running = asyncio.create_task(migrate(old))
        waited: set[int] = set()

        async def has_waited_twice() -> bool:
            assert not running.done()
            waiting = await connection.fetch(f"SELECT pid {MIGRATING} AND wait_event_type = 'Lock'")
            waited.update(row["pid"] for row in waiting)
            return len(waited) > 1

        await until(has_waited_twice, seconds=30)
        await reading.rollback()
        await running
    assert "table review is busy" in caplog.text


async def test_giving_up_on_a_busy_table_names_the_holder_of_the_lock(old: str) -> None:
    async with connected(old, server_settings={"application_name": "report"}) as reader:
        async with reader.transaction():
            await reader.execute("SELECT FROM review LIMIT 1")
            pid = reader.get_server_pid()
            done = await upgrade(old, "-x", "tries=2", "upgrade", "head")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"alembic: table review is busy: pid {pid} (report, idle in transaction)")
        assert "gave up after 2 tries" in last
        await migrate(old)
        await assert_exact(reader)


async def test_an_invalid_number_of_tries_is_named(old: str) -> None:
    with pytest.raises(SystemExit, match=r"^alembic: -x tries=none is not a number of at least 1$"):
        await migrate(old, cmd_opts=argparse.Namespace(x=["tries=none"]))


async def test_concurrent_upgrades_run_one_after_the_other(old: str) -> None:
    async with connected(old) as connection, connected(old) as reader:

        async def both_are_there() -> bool:
            building = f"SELECT count(*) {MIGRATING} AND query LIKE 'CREATE INDEX CONCURRENTLY%'"
            asking = f"SELECT count(*) {MIGRATING} AND query LIKE '%pg_try_advisory_lock%'"
            return bool(await connection.fetchval(building)) and bool(await connection.fetchval(asking))

        # CREATE INDEX CONCURRENTLY waits for this snapshot. It must not wait for the other upgrade's.
        async with reader.transaction(isolation="repeatable_read"):
            await reader.execute("SELECT 1")
            running = [upgrade(old), upgrade(old)]
            await until(both_are_there, seconds=30)
            await asyncio.sleep(1.5)  # longer than the lock timeout of the migrations
        first, second = await asyncio.gather(*running)
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        output = first.stderr + second.stderr
        assert "Waiting for another upgrade" in output
        assert output.count("Running upgrade 0001 -> 0002") == 1, (
            "creating the index concurrently blocks no one, so there is no retry"
        )
        await assert_exact(connection)


async def test_an_invalid_index_is_rebuilt(old: str) -> None:
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'review_due'::regclass"
    async with connected(old) as connection, connected(old) as reader:

        async def end_it() -> bool:
            return bool(
                await connection.fetchval(
                    f"SELECT pg_terminate_backend(pid, 5000) {MIGRATING}"
                    " AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'"
                )
            )

        async with reader.transaction(isolation="repeatable_read"):
            await reader.execute("SELECT 1")
            running = upgrade(old)
            await until(end_it, seconds=30)
            assert (await running).returncode == 1
        assert await connection.fetchval(valid) is False
        await migrate(old)
        assert await connection.fetchval(valid) is True
