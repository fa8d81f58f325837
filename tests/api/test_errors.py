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
        ("PATCH", "/api/reviews/tt1", "GET, PUT, DELETE"),
        ("POST", "/api/reviews/tt1", "GET, PUT, DELETE"),
        ("PUT", "/api/reviews/tt1/x", "GET"),
        ("GET", "/api/analyze", "POST"),
        ("POST", "/livez", "GET"),
    ],
)
async def test_405_lists_every_method_of_the_path(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path)
    assert allow in problem(response, 405)["detail"]
    assert response.headers["Allow"] == allow


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
