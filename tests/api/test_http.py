"""HTTP semantics common to all routes: media types, sizes, request ids, compression, CORS."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.bodies import MAX_BYTES
from tests.api.conftest import Serve
from tests.api.requests import REVIEW, create, problem

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


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_too_large_a_body_is_413(client: httpx.AsyncClient, method: str, path: str) -> None:
    declared = await client.request(
        method, path, content=b"x" * (MAX_BYTES + 1), headers={"Content-Type": "application/json"}
    )
    assert f"{MAX_BYTES:,}" in problem(declared, 413)["detail"]

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BYTES // 2**20 + 1):
            yield b"x" * 2**20

    undeclared = await client.request(
        method, path, content=endless(), headers={"Content-Type": "application/json"}
    )
    problem(undeclared, 413)


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
