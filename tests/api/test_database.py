"""Errors and outages of the database."""

import asyncio
import time
from pathlib import Path

import asyncpg
import httpx
import pytest
from uuid_utils.compat import uuid7

from api.database import describe
from tests.api.conftest import Serve
from tests.api.requests import MOVIE, REVIEW, UPDATE, create, problem
from tests.api.waiting import until
from tests.postgres import connected, plain


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://u@127.0.0.1:1/d",
        "postgresql+asyncpg://u@/d?host=/nowhere",
        "postgresql+asyncpg://u@name.invalid/d",
        "postgresql+asyncpg://postgres@/no_such_database?host={socket}",
        "postgresql+asyncpg://no_such_user@/postgres?host={socket}",
    ],
)
async def test_without_the_database_every_review_route_is_503(
    serve: Serve, postgres_socket: Path, url: str
) -> None:
    async with serve(database_url=url.format(socket=postgres_socket)) as client:
        responses = [
            await client.post("/api/reviews", json=REVIEW),
            await client.get(f"/api/reviews/{MOVIE}"),
            await client.get(f"/api/reviews/{MOVIE}/{uuid7()}"),
            await client.put(f"/api/reviews/{uuid7()}", json=UPDATE),
            await client.delete(f"/api/reviews/{uuid7()}"),
        ]
    for response in responses:
        problem(response, 503)
        assert int(response.headers["Retry-After"]) > 0
        assert "no_such" not in response.text


@pytest.mark.parametrize("next_request", ["read", "write"])
async def test_lost_connections_are_replaced_transparently(
    client: httpx.AsyncClient, sql: asyncpg.Connection, next_request: str
) -> None:
    await create(client)
    lost = await sql.fetch(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'movie-review-api'"
    )
    assert lost
    if next_request == "read":
        assert (await client.get(f"/api/reviews/{MOVIE}")).status_code == 200
    await create(client)


async def test_a_statement_timeout_is_503(serve: Serve, client: httpx.AsyncClient, database_url: str) -> None:
    review = await create(client)
    other = await asyncpg.connect(plain(database_url))
    try:
        async with other.transaction(), serve(api_database_statement_timeout_seconds=0.2) as hasty:
            await other.execute("SELECT FROM review FOR UPDATE")
            problem(await hasty.put(f"/api/reviews/{review['id']}", json=UPDATE), 503)
            # Reads do not wait for locks.
            assert (await hasty.get(f"/api/reviews/{MOVIE}")).status_code == 200
    finally:
        await other.close()
    assert (await client.get(f"/api/reviews/{MOVIE}/{review['id']}")).json() == review


async def test_a_lock_timeout_is_503(serve: Serve, client: httpx.AsyncClient, database_url: str) -> None:
    review = await create(client)
    path = f"/api/reviews/{review['id']}"
    other = await asyncpg.connect(plain(database_url))
    try:
        async with serve(api_database_lock_timeout_seconds=0.2) as hasty:
            async with other.transaction():
                await other.execute("SELECT FROM review FOR UPDATE")
                began = time.monotonic()
                refused = await hasty.put(path, json=UPDATE)
                assert time.monotonic() - began < 30, "earlier than the statement timeout"
                problem(refused, 503)
                assert int(refused.headers["Retry-After"]) > 0
            assert (await hasty.put(path, json=UPDATE)).status_code == 200
    finally:
        await other.close()


async def test_an_exhausted_pool_is_503(
    serve: Serve, client: httpx.AsyncClient, database_url: str, sql: asyncpg.Connection
) -> None:
    review = await create(client)
    other = await asyncpg.connect(plain(database_url))
    try:
        async with serve(api_database_pool_size=1, api_database_pool_timeout_seconds=0.2) as small:
            async with other.transaction():
                await other.execute("SELECT FROM review FOR UPDATE")
                waiting = asyncio.create_task(small.put(f"/api/reviews/{review['id']}", json=UPDATE))
                await until(lambda: sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
                problem(await small.get(f"/api/reviews/{MOVIE}"), 503)
            assert (await waiting).status_code == 200
    finally:
        await other.close()


async def test_a_rejected_change_is_rolled_back(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    review = await create(client)
    path = f"/api/reviews/{review['id']}"
    problem(await client.put(path, json=UPDATE, headers={"If-Match": '"other"'}), 412)
    held = await sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")
    assert held == 0
    assert await sql.fetchval("SELECT text FROM review") == review["text"]


async def test_a_logged_lock_timeout_has_no_text_or_author(
    serve: Serve, client: httpx.AsyncClient, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        connected(database_url) as other,
        serve(api_database_lock_timeout_seconds=0.2) as hasty,
        other.transaction(),
    ):
        await other.execute("LOCK TABLE review")
        secret = {**REVIEW, "author": "Secret Author", "text": "Secret text."}
        problem(await hasty.post("/api/reviews", json=secret), 503)
    assert "lock timeout" in caplog.text
    assert "Secret" not in caplog.text


@pytest.mark.parametrize(
    ("statement", "arguments", "expected"),
    [
        ("SELECT $1::text::int", ["Secret"], "InvalidTextRepresentationError (22P02)"),
        ("SELECT $1::int", ["Secret"], "DataError (22000)"),
        (
            "INSERT INTO movie_month (movie_id, month, reviews, positive, negative, ratings, rating_sum)"
            " VALUES ($1, now(), NULL, 0, 0, 0, 0)",
            ["Secret"],
            'NotNullViolationError: null value in column "reviews" of relation "movie_month" violates'
            " not-null constraint",
        ),
    ],
)
async def test_the_description_of_an_error_has_no_values(
    sql: asyncpg.Connection, statement: str, arguments: list[str], expected: str
) -> None:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as caught:
        await sql.fetch(statement, *arguments)
    assert "Secret" in str(caught.value)
    assert describe(caught.value) == expected
