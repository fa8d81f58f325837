"""Errors are RFC 9457 problems, whatever the client sends."""

import httpx
import pytest
from fastapi import FastAPI

from api import errors
from tests.api.conftest import running
from tests.api.requests import REVIEW, faults, problem

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/", "/api", "/api/review", "/api/reviews/", "/api/reviews/a/b/c", "/%00"])
async def test_an_unknown_path_is_404(client: httpx.AsyncClient, path: str) -> None:
    problem(await client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/reviews", "POST"),
        ("PATCH", "/api/reviews/tt1", "HEAD, GET, PUT, DELETE"),
        ("POST", "/api/reviews/tt1", "HEAD, GET, PUT, DELETE"),
        ("POST", "/api/reviews/tt1/x", "HEAD, GET, PUT, PATCH, DELETE"),
        ("GET", "/api/analyze", "POST"),
        ("POST", "/livez", "HEAD, GET"),
        ("POST", "/docs/assets/swagger-ui.css", "HEAD, GET"),
    ],
)
async def test_405_lists_every_method_of_the_path(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path)
    assert allow in problem(response, 405)["detail"]
    assert response.headers["Allow"] == allow


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/docs", "/docs/assets/favicon.png", "/api/movies", "/nothing"]
)
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    if path != "/metrics":  # which count the first request
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


async def test_head_without_get_is_405(client: httpx.AsyncClient) -> None:
    response = await client.head("/api/reviews")
    assert (response.status_code, response.headers["Allow"], response.content) == (405, "POST", b"")


async def test_head_of_a_review_has_its_etag(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    head = await client.head(created.headers["Location"])
    assert head.headers["ETag"] == created.headers["ETag"]


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("GET", "/api/reviews/tt1", "sentiment, limit, cursor"),
        ("GET", "/api/movies", "prefix, sort, limit, cursor"),
        ("GET", "/api/movies/tt1", "no query parameters"),
        ("GET", "/api/reviews/tt1/00000000-0000-0000-0000-000000000000", "no query parameters"),
        ("POST", "/api/reviews", "no query parameters"),
        ("PUT", "/api/reviews/00000000-0000-0000-0000-000000000000", "no query parameters"),
        ("DELETE", "/api/reviews/00000000-0000-0000-0000-000000000000", "no query parameters"),
        ("POST", "/api/analyze", "no query parameters"),
        ("POST", "/api/analyze/batch", "no query parameters"),
    ],
)
async def test_unknown_query_parameters_are_refused(
    client: httpx.AsyncClient, method: str, path: str, known: str
) -> None:
    body = REVIEW if method in ("POST", "PUT") else None
    response = await client.request(method, f"{path}?sentimnet=positive&x=1", json=body)
    found = faults(response)
    assert found.keys() >= {"query.sentimnet", "query.x"}
    assert known in found["query.sentimnet"]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{'text': 1}",
        b'{"text": "\xff"}',
        b"[" * 100_000,
        b"9" * 5000,
        b'{"text": "a\nb"}',
        b"\x00",
        b"nul",
    ],
)
@pytest.mark.parametrize("path", ["/api/reviews", "/api/analyze", "/api/analyze/batch"])
async def test_invalid_json_is_422(client: httpx.AsyncClient, path: str, content: bytes) -> None:
    problem(await client.post(path, content=content, headers=JSON), 422)


async def test_a_json_error_is_located(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/reviews", content=b'{"text": }', headers=JSON)
    assert faults(response) == {"body.": "Invalid JSON at character 9: Expecting value"}


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"1", b'"x"', b"NaN", b"{}"])
async def test_json_of_another_shape_is_422(client: httpx.AsyncClient, content: bytes) -> None:
    faults(await client.post("/api/reviews", content=content, headers=JSON))


async def test_a_field_name_with_a_lone_surrogate_is_422(client: httpx.AsyncClient) -> None:
    content = b'{"\\ud800": 1, "movie_id": "a", "author": "a", "text": "a"}'
    assert list(faults(await client.post("/api/reviews", content=content, headers=JSON))) == ["body."]


async def test_the_number_of_field_errors_is_limited(client: httpx.AsyncClient) -> None:
    body = {**REVIEW, **{f"field{number}": 1 for number in range(200)}}
    assert len(faults(await client.post("/api/reviews", json=body))) == errors.MAX_FIELD_ERRORS


async def test_an_unhandled_exception_is_a_500_without_details() -> None:
    app = FastAPI()
    errors.install(app)

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("secret of the house")

    async with running(app) as client:
        response = await client.get("/boom")
    problem(response, 500)
    assert "secret" not in response.text
    assert "Traceback" not in response.text
