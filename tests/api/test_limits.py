"""Rate limits."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import asyncpg
import httpx
import pytest

from api.cleanup import Cleanup
from api.credentials import new_key
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


def remaining(answer: httpx.Response) -> int:
    found = re.fullmatch(r'"(read|write|analyze)";r=(\d+);t=\d+', answer.headers["RateLimit"])
    assert found
    return int(found[2])


async def test_the_headers_count_down_to_a_429(client: httpx.AsyncClient) -> None:
    answers = [await client.get(PATH) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert [remaining(answer) for answer in answers] == [4, 3, 2, 1, 0]
    assert answers[0].headers["RateLimit-Policy"] == '"read";q=5;w=3600'
    refused = await client.get(PATH)
    assert "5 requests per 3600 seconds" in problem(refused, 429)["detail"]
    # One request is refilled in a fifth of an hour.
    assert 700 <= int(refused.headers["Retry-After"]) <= 720
    assert remaining(refused) == 0


async def test_the_quota_refills_with_time(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    for _ in range(5):
        await client.get(PATH)
    await sql.execute("UPDATE rate_limit SET spent_until = spent_until - interval '12 minutes 1 second'")
    assert (await client.get(PATH)).status_code == 200
    problem(await client.get(PATH), 429)
    await sql.execute("UPDATE rate_limit SET spent_until = spent_until - interval '10 days'")
    assert remaining(await client.get(PATH)) == 4, "never more than the quota"


async def test_each_key_and_address_has_its_own_quota(client: httpx.AsyncClient, new_api_key: NewKey) -> None:
    for _ in range(5):
        await client.get(PATH)
    problem(await client.get(PATH), 429)
    assert (await client.get(PATH, headers=bearer(await new_api_key("read")))).status_code == 200
    request = client.build_request("GET", PATH)
    del request.headers["Authorization"]
    assert (await client.send(request)).status_code == 200


async def test_reading_writing_and_analysing_are_counted_separately(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await client.post("/api/reviews", json=REVIEW)).status_code == 201
    problem(await client.post("/api/reviews", json=REVIEW), 429)
    assert (await client.get(PATH)).status_code == 200
    assert (await client.post("/api/analyze", json={"text": "Fine."})).status_code == 200


async def test_a_batch_costs_one_request_per_text(client: httpx.AsyncClient) -> None:
    batch = {"texts": ["Fine."] * 4}
    assert remaining(await client.post("/api/analyze/batch", json=batch)) == 1
    # A refused batch has still cost one request: it was read before its texts could be counted.
    problem(await client.post("/api/analyze/batch", json=batch), 429)
    problem(await client.post("/api/analyze", json={"text": "Fine."}), 429)


async def test_a_batch_larger_than_the_quota_costs_the_whole_quota(client: httpx.AsyncClient) -> None:
    batch = {"texts": ["Fine."] * 40}
    assert remaining(await client.post("/api/analyze/batch", json=batch)) == 0
    problem(await client.post("/api/analyze/batch", json=batch), 429)


async def test_an_invalid_review_is_counted_too(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        problem(await client.post("/api/reviews", json={**REVIEW, "rating": 11}), 422)
    problem(await client.post("/api/reviews", json=REVIEW), 429)


async def test_processes_share_the_quota(serve: Serve) -> None:
    """Four applications share only the database; five of their concurrent requests are served."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(serve(api_limit_read="5/hour")) for _ in range(4)]
        answers = await asyncio.gather(*(client.get(PATH) for client in clients for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 35


async def test_an_ipv6_network_is_one_caller(sql: asyncpg.Connection, serve: Serve) -> None:
    async with serve(api_limit_read="5/hour") as client:
        del client.headers["Authorization"]
        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.1"):
            transport.client = (address, 1)
            await client.get(PATH)
    spent = dict(await sql.fetch("SELECT name, spent_until FROM rate_limit"))
    assert set(spent) == {"read:2001:db8::/64", "read:2001:db8:0:1::/64", "read:192.0.2.1"}
    # The IPv4 address has also asked as IPv4-mapped IPv6.
    assert spent["read:192.0.2.1"] > spent["read:2001:db8:0:1::/64"] + timedelta(minutes=10)


async def test_a_forged_address_is_not_an_error(serve: Serve, sql: asyncpg.Connection) -> None:
    async with serve(api_limit_read="5/hour") as client:
        del client.headers["Authorization"]
        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        for forged in ("x" * 500, "a\0b", ""):
            transport.client = (forged, 1)
            assert (await client.get(PATH)).status_code == 200
    assert await sql.fetchval("SELECT array_agg(name) FROM rate_limit") == ["read:unknown"]


async def test_invalid_keys_are_charged_to_the_address(serve: Serve, sql: asyncpg.Connection) -> None:
    async with serve(api_limit_read="2/hour") as client:
        for _ in range(2):
            problem(await client.get(PATH, headers=bearer(new_key())), 401)
        problem(await client.get(PATH, headers=bearer(new_key())), 429)
        await sql.execute("TRUNCATE rate_limit")
        problem(await client.get(PATH, headers=bearer("mrs_nonsense")), 401)
    assert await sql.fetchval("SELECT count(*) FROM rate_limit") == 0, "rejected without the database"


async def test_the_first_requests_of_a_caller_are_counted_exactly(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(serve(api_limit_read="1/hour")) for _ in range(10)]
        for client in clients:  # with a connection each
            await client.get("/readyz")
        answers = await asyncio.gather(*(client.get(PATH) for client in clients))
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 9


async def test_rows_with_a_full_quota_are_deleted(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await client.get(PATH)
    await Cleanup().run_if_due(sql)
    assert await sql.fetchval("SELECT count(*) FROM rate_limit") == 1
    await sql.execute("UPDATE rate_limit SET spent_until = now() - interval '1 second'")
    await Cleanup().run_if_due(sql)
    assert await sql.fetchval("SELECT count(*) FROM rate_limit") == 0
