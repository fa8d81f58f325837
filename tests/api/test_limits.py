"""How much one caller may ask."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import httpx
import pytest

from api import limits
from tests.api.conftest import NewKey, Serve, bearer
from tests.api.requests import MOVIE, REVIEW, problem

PATH = f"/api/reviews/{MOVIE}"


def bento(request: httpx.Request) -> httpx.Response:
    return httpx.Response(
        200,
        json=[{"label": "positive", "score": 0.9, "model_version": "1"}] * request.content.count(b"Fine."),
    )


pytestmark = pytest.mark.usefixtures("nothing_spent")


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    limited = {"api_limit_read": "5/hour", "api_limit_analyze": "5/hour", "api_limit_write": "2/hour"}
    async with serve(bento, **limited) as client:
        yield client


def left(answer: httpx.Response) -> int:
    found = re.fullmatch(r'"(read|write|analyze)";r=(\d+);t=\d+', answer.headers["RateLimit"])
    assert found
    return int(found[2])


async def test_what_is_left_is_said_and_then_nothing_is(client: httpx.AsyncClient) -> None:
    answers = [await client.get(PATH) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert [left(answer) for answer in answers] == [4, 3, 2, 1, 0]
    assert answers[0].headers["RateLimit-Policy"] == '"read";q=5;w=3600'
    refused = await client.get(PATH)
    assert "5 requests in 3600 seconds" in problem(refused, 429)["detail"]
    # A fifth of an hour gives one back.
    assert 700 <= int(refused.headers["Retry-After"]) <= 720
    assert left(refused) == 0


async def test_time_gives_it_back(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    for _ in range(5):
        await client.get(PATH)
    await sql.execute("UPDATE rate_limit SET spent_until = spent_until - interval '12 minutes 1 second'")
    assert (await client.get(PATH)).status_code == 200
    problem(await client.get(PATH), 429)
    await sql.execute("UPDATE rate_limit SET spent_until = spent_until - interval '10 days'")
    assert left(await client.get(PATH)) == 4, "and never more than the quota"


async def test_keys_and_addresses_have_their_own(client: httpx.AsyncClient, new_api_key: NewKey) -> None:
    for _ in range(5):
        await client.get(PATH)
    problem(await client.get(PATH), 429)
    assert (await client.get(PATH, headers=bearer(await new_api_key("read")))).status_code == 200
    request = client.build_request("GET", PATH)
    del request.headers["Authorization"]
    assert (await client.send(request)).status_code == 200


async def test_reading_writing_and_analysing_are_counted_apart(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await client.post("/api/reviews", json=REVIEW)).status_code == 201
    problem(await client.post("/api/reviews", json=REVIEW), 429)
    assert (await client.get(PATH)).status_code == 200
    assert (await client.post("/api/analyze", json={"text": "Fine."})).status_code == 200


async def test_a_batch_costs_as_much_as_its_texts(client: httpx.AsyncClient) -> None:
    batch = {"texts": ["Fine."] * 4}
    assert left(await client.post("/api/analyze/batch", json=batch)) == 1
    problem(await client.post("/api/analyze/batch", json=batch), 429)
    assert left(await client.post("/api/analyze", json={"text": "Fine."})) == 0


async def test_a_batch_larger_than_the_quota_can_still_be_had(client: httpx.AsyncClient) -> None:
    batch = {"texts": ["Fine."] * 40}
    assert left(await client.post("/api/analyze/batch", json=batch)) == 0
    problem(await client.post("/api/analyze/batch", json=batch), 429)


async def test_a_refused_review_is_counted_too(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        problem(await client.post("/api/reviews", json={**REVIEW, "rating": 11}), 422)
    problem(await client.post("/api/reviews", json=REVIEW), 429)


async def test_processes_count_together(serve: Serve) -> None:
    """Of many requests at once, at four applications that share nothing but the database, five are served."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(serve(api_limit_read="5/hour")) for _ in range(4)]
        answers = await asyncio.gather(*(client.get(PATH) for client in clients for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 35


async def test_of_ipv6_a_network_is_one_caller(sql: asyncpg.Connection, serve: Serve) -> None:
    async with serve(api_limit_read="5/hour") as client:
        del client.headers["Authorization"]
        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.1"):
            transport.client = (address, 1)
            await client.get(PATH)
    names = {row[0] for row in await sql.fetch("SELECT name FROM rate_limit")}
    assert names == {"read:2001:db8::/64", "read:2001:db8:0:1::/64", "read:192.0.2.1"}


async def test_who_has_a_full_quota_is_forgotten(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await client.get(PATH)
    await sql.execute(limits.DELETE_FULL_QUOTAS)
    assert await sql.fetchval("SELECT count(*) FROM rate_limit") == 1
    await sql.execute("UPDATE rate_limit SET spent_until = now() - interval '1 second'")
    await sql.execute(limits.DELETE_FULL_QUOTAS)
    assert await sql.fetchval("SELECT count(*) FROM rate_limit") == 0
