"""Security and caching headers."""

from base64 import b64encode
from hashlib import sha256

import httpx
import pytest
from fastapi import FastAPI

from api.headers import DEFAULTS
from tests.api.conftest import Serve
from tests.api.requests import MOVIE, REVIEW, create
from tests.postgres import NewDatabase

JSON_POLICY = "default-src 'none'; frame-ancestors 'none'"


def check(response: httpx.Response) -> None:
    """Each default header occurs once, and HSTS does not occur without TLS."""
    for name in DEFAULTS:
        assert len(response.headers.get_list(name)) == 1, name
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"
    assert "Strict-Transport-Security" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", f"/api/reviews/{MOVIE}", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs/assets/swagger-ui.css", 200),
        ("GET", "/docs/assets/nothing.js", 404),
        ("GET", "/nothing", 404),
        ("PATCH", "/api/reviews", 405),
        ("POST", "/api/reviews", 415),
        ("POST", "/api/analyze", 415),
        ("GET", "/api/movies?limit=0", 422),
    ],
)
async def test_every_response_has_the_default_headers(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    check(response)
    assert response.headers["Content-Security-Policy"] == JSON_POLICY


async def test_a_crash_an_outage_and_a_preflight_have_the_default_headers(
    serve: Serve, new_database: NewDatabase
) -> None:
    origin = {"Origin": "https://allowed.example", "Access-Control-Request-Method": "PUT"}
    async with serve(
        database_url=await new_database(), api_cors_origins=["https://allowed.example"]
    ) as without_tables:
        crash = await without_tables.get(f"/api/reviews/{MOVIE}")
        outage = await without_tables.post("/api/analyze", json={"text": "x"}, headers={"Authorization": ""})
        preflight = await without_tables.options("/api/reviews/x", headers=origin)
    assert [answer.status_code for answer in (crash, outage, preflight)] == [500, 503, 200]
    for answer in (crash, outage, preflight):
        check(answer)


async def test_cached_copies_are_revalidated(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    path, known = created.headers["Location"], {"If-None-Match": created.headers["ETag"]}
    same = await client.get(path, headers=known)
    assert (same.status_code, same.headers["ETag"]) == (304, created.headers["ETag"])
    for answer in (created, same, await client.get(path)):
        check(answer)
    style = await client.get("/docs/assets/swagger-ui.css")
    invalid = await client.get("/docs/assets/swagger-ui.css", headers={"Range": "bytes=abc"})
    assert invalid.content == style.content, "the whole file instead of an error in plain text"
    again = await client.get("/docs/assets/swagger-ui.css", headers={"If-None-Match": style.headers["ETag"]})
    assert again.status_code == 304
    check(again)


async def test_hsts_is_sent_only_over_tls(app: FastAPI, client: httpx.AsyncClient) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as secure:
        for path in ("/livez", "/nothing", "/docs"):
            answer = await secure.get(path)
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    await create(client)
    check(await client.get("/livez"))


async def test_the_docs_page_allows_only_its_own_scripts(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs")
    check(response)
    words = (word.split() for word in response.headers["Content-Security-Policy"].split(";"))
    policy = {name: sources for name, *sources in words}
    script = response.text.partition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == ["'self'", f"'sha256-{digest}'"]
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == ["'none'"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
