import asyncpg
import pytest

from tests.postgres import NewDatabase, alembic, plain

INSERT = (
    "INSERT INTO review (id, movie_id, author, text, revision, created_at, updated_at, {columns})"
    " VALUES (gen_random_uuid(), 'tt1', 'a', 't', 1, now(), now(), {values})"
)


async def test_up_down_up_and_no_drift(new_database: NewDatabase) -> None:
    url = await new_database()
    for words in (["upgrade", "head"], ["downgrade", "base"], ["upgrade", "head"], ["check"]):
        done = alembic(url, *words)
        assert done.returncode == 0, done.stderr
    connection = await asyncpg.connect(plain(url))
    try:
        assert await connection.fetchval("SELECT count(*) FROM review") == 0
        # The check is worth something only if it sees a difference.
        await connection.execute("DROP INDEX review_newest")
    finally:
        await connection.close()
    drifted = alembic(url, "check")
    assert drifted.returncode == 255
    assert "review_newest" in drifted.stdout + drifted.stderr


async def test_reviews_from_before_are_due_and_counted(new_database: NewDatabase) -> None:
    """What the first version of the service wrote, brought to today's schema; and back, with nothing lost."""
    url = await new_database()
    assert alembic(url, "upgrade", "0001").returncode == 0
    connection = await asyncpg.connect(plain(url))
    try:
        for rating in ("9", "4", "NULL"):
            await connection.execute(INSERT.format(columns="rating", values=rating))
        done = alembic(url, "upgrade", "head")
        assert done.returncode == 0, done.stderr
        assert await connection.fetchval("SELECT count(*) FROM review WHERE analyze_after <= now()") == 3
        for table in ("movie", "movie_month"):
            (row,) = await connection.fetch(f"SELECT reviews, ratings, rating_sum FROM {table}")  # noqa: S608
            assert tuple(row) == (3, 2, 13)
        done = alembic(url, "downgrade", "0001")
        assert done.returncode == 0, done.stderr
        assert await connection.fetchval("SELECT count(*) FROM review") == 3
    finally:
        await connection.close()


async def test_down_leaves_nothing(new_database: NewDatabase) -> None:
    url = await new_database()
    for words in (["upgrade", "head"], ["downgrade", "base"]):
        assert alembic(url, *words).returncode == 0
    connection = await asyncpg.connect(plain(url))
    try:
        left = await connection.fetch(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'public' AND relname NOT LIKE 'alembic_version%'"
        )
    finally:
        await connection.close()
    assert left == []


async def test_sql_can_be_printed_for_a_careful_operator(database_url: str) -> None:
    done = alembic(database_url, "upgrade", "head", "--sql")
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE review" in done.stdout


def test_without_a_database_the_command_says_what_to_set() -> None:
    done = alembic("sqlite:///reviews.db", "upgrade", "head")
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


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
async def test_the_database_itself_refuses_nonsense(
    sql: asyncpg.Connection, columns: str, values: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.execute(INSERT.format(columns=columns, values=values))


@pytest.mark.parametrize(
    ("column", "value"),
    [("movie_id", "''"), ("author", "''"), ("text", "''"), ("text", "repeat('x', 20001)")],
)
async def test_the_database_refuses_what_the_api_refuses(
    sql: asyncpg.Connection, column: str, value: str
) -> None:
    await sql.execute("TRUNCATE review")
    await sql.execute(INSERT.format(columns="rating", values="5"))
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.execute(f"UPDATE review SET {column} = {value}")  # noqa: S608 - our own words
