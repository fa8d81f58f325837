"""Idempotency-Key."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from api.cleanup import Cleanup
from tests.api.requests import REVIEW, UPDATE, faults, problem


@pytest.fixture(autouse=True)
async def no_answers(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await sql.execute("TRUNCATE first_answer")


async def post(client: httpx.AsyncClient, key: str, **changed: Any) -> httpx.Response:
    return await client.post("/api/reviews", json={**REVIEW, **changed}, headers={"Idempotency-Key": key})


async def count(sql: asyncpg.Connection) -> int:
    found: int = await sql.fetchval("SELECT count(*) FROM review")
    return found


async def test_a_retry_gets_the_first_answer(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    first = await post(client, "a")
    assert first.status_code == 201
    await client.put(f"/api/reviews/{first.json()['id']}", json=UPDATE)
    again = await post(client, "a")
    assert (again.status_code, again.json()) == (201, first.json()), (
        "the stored answer, not the current review"
    )
    for name in ("Location", "ETag"):
        assert again.headers[name] == first.headers[name]
    assert await count(sql) == 1
    await client.delete(f"/api/reviews/{first.json()['id']}")
    assert (await post(client, "a")).json() == first.json()
    assert await count(sql) == 0


async def test_requests_are_compared_after_normalization(client: httpx.AsyncClient) -> None:
    first = await post(client, "a")
    assert (await post(client, "a", text=f" {REVIEW['text']} ")).json() == first.json()


async def test_another_body_is_a_conflict(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await post(client, "a")
    assert "Idempotency-Key" in problem(await post(client, "a", rating=1), 409)["detail"]
    assert await count(sql) == 1


async def test_another_key_or_none_creates_another_review(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    for key in ("a", "b"):
        await post(client, key)
    for _ in range(2):
        await client.post("/api/reviews", json=REVIEW)
    assert await count(sql) == 4


async def test_concurrent_retries_create_one_review(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    answers = await asyncio.gather(*(post(client, "a") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert await count(sql) == 1


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "é"])
async def test_an_invalid_key_is_named(client: httpx.AsyncClient, key: str) -> None:
    response = await client.post("/api/reviews", json=REVIEW, headers=[(b"Idempotency-Key", key.encode())])
    assert [name.lower() for name in faults(response)] == ["header.idempotency-key"]


async def test_an_invalid_request_does_not_use_up_its_key(client: httpx.AsyncClient) -> None:
    assert (await post(client, "a", rating=11)).status_code == 422
    assert (await post(client, "a")).status_code == 201


async def test_the_worker_deletes_answers_after_a_day(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    for key, hours in (("old", 25), ("new", 23)):
        await post(client, key)
        await sql.execute(
            "UPDATE first_answer SET created_at = now() - make_interval(hours => $2)"
            " WHERE idempotency_key = $1",
            key,
            hours,
        )
    await Cleanup().run_if_due(sql)
    assert [row[0] for row in await sql.fetch("SELECT idempotency_key FROM first_answer")] == ["new"]
