"""HTTP semantics common to all routes: media types, sizes, request ids, compression, CORS."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.bodies import MAX_BATCH_BYTES, MAX_BYTES, MAX_VALUES
from api.credentials import new_key
from tests.api.conftest import Serve, bearer
from tests.api.requests import REVIEW, create, problem

JSON = {"Content-Type": "application/json"}
WRITES = [("POST", "/api/reviews"), ("POST", "/api/analyze"), ("POST", "/api/analyze/batch")]


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
async def test_a_body_of_another_media_type_is_415(
    client: httpx.AsyncClient, method: str, path: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await client.request(method, path, content=b'{"text": "x"}', headers=headers)
    assert "application/json" in problem(response, 415)["detail"]


async def test_the_media_type_may_have_a_charset(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": 'Application/JSON; charset="utf-8"'}
    assert (await client.post("/api/reviews", json=REVIEW, headers=headers)).status_code == 201


async def test_a_replacement_of_another_media_type_is_415(client: httpx.AsyncClient) -> None:
    review = await create(client)
    response = await client.put(f"/api/reviews/{review['id']}", content=b"x")
    problem(response, 415)
    assert (await client.delete(f"/api/reviews/{review['id']}")).status_code == 204, (
        "no body needs no media type"
    )


async def test_an_unknown_path_is_404_whatever_the_body(client: httpx.AsyncClient) -> None:
    problem(await client.post("/api/nothing", content=b"x"), 404)
    problem(await client.put("/api/analyze", content=b"x"), 405)


@pytest.mark.parametrize(
    ("path", "limit"),
    [("/api/reviews", MAX_BYTES), ("/api/analyze", MAX_BYTES), ("/api/analyze/batch", MAX_BATCH_BYTES)],
)
async def test_too_large_a_body_is_413(client: httpx.AsyncClient, path: str, limit: int) -> None:
    declared = await client.post(path, content=b"x" * (limit + 1), headers=JSON)
    assert f"{limit:,}" in problem(declared, 413)["detail"]

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 2**16

    undeclared = await client.post(path, content=endless(), headers=JSON)
    problem(undeclared, 413)
    assert undeclared.headers["Connection"] == "close"


async def unread() -> AsyncIterator[bytes]:
    raise AssertionError("the body was read")
    yield b""  # type: ignore[unreachable]  # makes this a generator


async def test_a_request_is_admitted_before_its_body_is_read(client: httpx.AsyncClient, serve: Serve) -> None:
    for headers in (bearer("nonsense"), bearer(new_key())):
        for path in ("/api/reviews", "/api/analyze", "/api/analyze/batch"):
            problem(await client.post(path, content=unread(), headers={**JSON, **headers}), 401)
    async with serve(api_limit_analyze="1/hour") as limited:
        problem(await limited.post("/api/analyze", json={}), 422)
        problem(await limited.post("/api/analyze/batch", content=unread(), headers=JSON), 429)


async def test_a_body_that_does_not_arrive_in_time_is_408(serve: Serve) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b'{"text":"'
        await asyncio.sleep(600)

    async with serve(api_body_timeout_seconds=0.05) as client:
        response = await client.post("/api/analyze", content=slow(), headers=JSON)
    assert "within 0.05 seconds" in problem(response, 408)["detail"]
    assert response.headers["Connection"] == "close"


async def test_a_compressed_body_is_415(client: httpx.AsyncClient) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    response = await client.post("/api/reviews", content=gzip.compress(b"{}"), headers=headers)
    assert "must not be compressed" in problem(response, 415)["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"texts":[' + b"[]," * 500_000 + b"0]}",
        b'{"texts":[' + b'"",' * 500_000 + b'""]}',
        b"{" + b",".join(b'"k%d":0' % number for number in range(500_000)) + b"}",
    ],
    ids=["arrays", "strings", "names"],
)
async def test_the_parser_stops_after_some_hundred_values(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/api/analyze/batch", content=body, headers=JSON)
    assert f"more than {MAX_VALUES} values" in problem(response, 422)["detail"]


@pytest.mark.parametrize(
    "text",
    [
        b"1" * 200_000,
        b'"\\ud83c"',
        b'"\xff"',
        b"NaN",
        b"1e999999",
        b'"' + b"\\u0000" * 20_000 + b'"',
        b"[" * 200_000,
        b'{"a":' * 40_000,
    ],
)
async def test_odd_values_are_422(client: httpx.AsyncClient, text: bytes) -> None:
    problem(await client.post("/api/analyze", content=b'{"text":' + text + b"}", headers=JSON), 422)


async def test_the_largest_batch_fits(serve: Serve) -> None:
    def bento(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[{"label": "positive", "score": 1, "model_version": "1"}] * 64)

    async with serve(bento) as client:
        response = await client.post("/api/analyze/batch", json={"texts": ["🎬" * 20_000] * 64})
    assert response.status_code == 200
    assert len(response.json()["results"]) == 64


@pytest.mark.parametrize("sent", ["abc-123_X.7", None, "spaced out", "x" * 129, "é"])
async def test_every_response_has_a_request_id(client: httpx.AsyncClient, sent: str | None) -> None:
    headers = [] if sent is None else [(b"X-Request-ID", sent.encode())]
    for path in ("/livez", "/nothing"):
        (answered,) = (await client.get(path, headers=headers)).headers.get_list("X-Request-ID")
        assert (answered == sent) is (sent == "abc-123_X.7")
        assert answered


async def test_long_responses_are_compressed_if_accepted(client: httpx.AsyncClient) -> None:
    for _ in range(10):
        await create(client, text="good " * 100)
    path = f"/api/reviews/{REVIEW['movie_id']}"
    for accepted, encoding in (("gzip", "gzip"), ("identity", None)):
        response = await client.get(path, headers={"Accept-Encoding": accepted})
        assert response.headers.get("Content-Encoding") == encoding
        assert len(response.json()["items"]) == 10


def preflight(origin: str) -> dict[str, Any]:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "if-match"}
    return {"Origin": origin, **asked}


async def test_configured_origins_are_allowed(serve: Serve) -> None:
    async with serve(api_cors_origins=["https://allowed.example"]) as client:
        allowed = await client.options("/api/reviews/x", headers=preflight("https://allowed.example"))
        other = await client.options("/api/reviews/x", headers=preflight("https://other.example"))
        read = await client.get("/livez", headers={"Origin": "https://allowed.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://allowed.example"
    assert "Access-Control-Allow-Origin" not in other.headers
    assert "ETag" in read.headers["Access-Control-Expose-Headers"]


async def test_no_origin_is_allowed_by_default(client: httpx.AsyncClient) -> None:
    response = await client.get("/livez", headers={"Origin": "https://allowed.example"})
    assert "Access-Control-Allow-Origin" not in response.headers
