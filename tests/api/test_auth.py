"""API keys: authentication, scopes and ownership of reviews."""

import logging

import asyncpg
import httpx
import pytest

from api.credentials import new_key
from tests.api.conftest import NewKey, Serve, bearer
from tests.api.requests import MOVIE, REVIEW, UPDATE, create, problem

ANALYSIS = [{"label": "positive", "score": 0.9, "model_version": "1", "truncated": False}]


def anonymous(request: httpx.Request) -> httpx.Request:
    del request.headers["Authorization"]
    return request


async def write(client: httpx.AsyncClient, authorization: str | None) -> httpx.Response:
    request = anonymous(client.build_request("POST", "/api/reviews", json=REVIEW))
    if authorization is not None:
        request.headers["Authorization"] = authorization
    return await client.send(request)


@pytest.mark.parametrize("authorization", [None, "", "Basic QWRhOng=", "Bearer"])
async def test_writing_needs_a_key(client: httpx.AsyncClient, authorization: str | None) -> None:
    answer = await write(client, authorization)
    assert "Authorization: Bearer" in problem(answer, 401)["detail"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "key", [new_key(), "nonsense", "mrs_é", ""], ids=["unknown", "word", "accent", "empty"]
)
async def test_an_unknown_key_is_rejected_on_every_route(client: httpx.AsyncClient, key: str) -> None:
    headers = {b"Authorization": f"Bearer {key}".encode()}
    if key:
        for path in (f"/api/reviews/{MOVIE}", "/api/movies"):
            answer = await client.get(path, headers=headers)
            problem(answer, 401)
            assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    problem(await client.post("/api/reviews", json=REVIEW, headers=headers), 401)
    assert (await client.get(f"/api/reviews/{MOVIE}")).json()["items"] == []


async def test_a_key_with_a_wrong_secret_is_rejected(client: httpx.AsyncClient, api_key: str) -> None:
    problem(await write(client, f"Bearer {api_key[:-1]}{'0' if api_key[-1] != '0' else '1'}"), 401)


@pytest.mark.parametrize(
    ("column", "why"), [("revoked_at", "has been revoked"), ("expires_at", "has expired")]
)
async def test_a_revoked_or_expired_key_is_rejected(
    client: httpx.AsyncClient, sql: asyncpg.Connection, new_api_key: NewKey, column: str, why: str
) -> None:
    key = await new_api_key("admin")
    assert (await write(client, f"Bearer {key}")).status_code == 201
    await sql.execute(f"UPDATE api_key SET {column} = now() WHERE id = $1", key[4:20])  # noqa: S608
    assert why in problem(await write(client, f"Bearer {key}"), 401)["detail"]


async def test_reading_needs_no_key(client: httpx.AsyncClient) -> None:
    review = await create(client)
    for path in (f"/api/reviews/{MOVIE}", f"/api/reviews/{MOVIE}/{review['id']}", "/api/movies"):
        assert (await client.send(anonymous(client.build_request("GET", path)))).status_code == 200


async def test_reading_needs_a_key_where_it_is_not_public(serve: Serve, new_api_key: NewKey) -> None:
    reader = await new_api_key("read")
    async with serve(api_public_read=False) as client:
        assert (await client.get("/api/movies")).status_code == 200, "a key that may write may read"
        del client.headers["Authorization"]
        for path in (
            f"/api/reviews/{MOVIE}",
            f"/api/reviews/{MOVIE}/{'0' * 32}",
            "/api/movies",
            "/api/movies/x",
        ):
            assert problem(await client.get(path), 401)["code"] == "key_required"
        assert (await client.get("/api/movies", headers=bearer(reader))).status_code == 200
        problem(await client.post("/api/analyze", json={"text": "Fine."}), 401)
        response = await client.post("/api/analyze", json={"text": "Fine."}, headers=bearer(reader))
        problem(response, 503)  # no Bento


async def test_a_key_without_the_write_scope_cannot_write(
    client: httpx.AsyncClient, new_api_key: NewKey
) -> None:
    key = await new_api_key("read")
    assert (await client.get("/api/movies", headers=bearer(key))).status_code == 200
    assert "`write`" in problem(await write(client, f"Bearer {key}"), 403)["detail"]


async def test_only_the_writing_key_or_an_admin_key_can_change_a_review(
    client: httpx.AsyncClient, new_api_key: NewKey
) -> None:
    review = await create(client)
    path = f"/api/reviews/{review['id']}"
    other, admin = bearer(await new_api_key("write")), bearer(await new_api_key("admin"))
    problem(await client.put(path, json=UPDATE, headers=other), 403)
    problem(await client.delete(path, headers=other), 403)
    assert (await client.get(f"/api/reviews/{MOVIE}/{review['id']}")).json() == review
    assert (await client.put(path, json=UPDATE)).status_code == 200
    assert (await client.put(path, json=UPDATE, headers=admin)).status_code == 200
    assert (await client.delete(path, headers=admin)).status_code == 204
    problem(await client.delete(path, headers=other), 404)


async def test_a_review_without_a_key_can_be_changed_by_an_admin_key(
    client: httpx.AsyncClient, sql: asyncpg.Connection, new_api_key: NewKey
) -> None:
    path = f"/api/reviews/{(await create(client))['id']}"
    await sql.execute("UPDATE review SET key_id = NULL")
    problem(await client.delete(path), 403)
    assert (await client.delete(path, headers=bearer(await new_api_key("admin")))).status_code == 204


async def test_idempotency_keys_are_separate_per_api_key(
    client: httpx.AsyncClient, new_api_key: NewKey
) -> None:
    first = await client.post("/api/reviews", json=REVIEW, headers={"Idempotency-Key": "shared"})
    second = await client.post(
        "/api/reviews",
        json={**REVIEW, "author": "Bob"},
        headers={"Idempotency-Key": "shared", **bearer(await new_api_key("write"))},
    )
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]


async def test_the_last_use_is_stored_and_the_secret_is_not(
    client: httpx.AsyncClient,
    sql: asyncpg.Connection,
    new_api_key: NewKey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    key = await new_api_key("write")
    before = await sql.fetchrow("SELECT * FROM api_key WHERE id = $1", key[4:20])
    await write(client, f"Bearer {key}")
    after = await sql.fetchrow("SELECT * FROM api_key WHERE id = $1", key[4:20])
    assert before["last_used_at"] is None
    assert after["last_used_at"] is not None
    problem(await write(client, f"Bearer {key[:-1]}x"), 401)
    secret = key[21:]
    assert secret not in caplog.text
    assert secret not in str(dict(after))


async def test_analysing_works_without_the_database(serve: Serve) -> None:
    def bento(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=ANALYSIS)

    nowhere = "postgresql+asyncpg://nobody@127.0.0.1:1/nowhere"
    async with serve(bento, database_url=nowhere, api_limit_analyze="10/minute") as client:
        with_key = await client.post("/api/analyze", json={"text": "Fine."})
        del client.headers["Authorization"]
        without = await client.post("/api/analyze", json={"text": "Fine."})
    assert without.status_code == 200
    assert "cannot be checked" in problem(with_key, 503)["detail"]
