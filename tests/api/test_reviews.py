"""/api/reviews: create, list, read, replace and delete."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event
from uuid_utils.compat import uuid7

from tests.api.conftest import bearer
from tests.api.requests import MOVIE, REVIEW, UPDATE, create, faults, problem

JSON = {"Content-Type": "application/json"}


async def mark(sql: asyncpg.Connection, review_id: str, label: str) -> None:
    """Set the sentiment, as the worker does."""
    await sql.execute(
        "UPDATE review SET sentiment_label = $2, sentiment_score = 0.75, sentiment_model_version = '3'"
        " WHERE id = $1",
        review_id,
        label,
    )


async def walk(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """Return the ids on all pages, in order."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = await client.get(f"/api/reviews/{MOVIE}", params={**query, **cursor})
        assert response.status_code == 200, response.text
        page = response.json()
        ids += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = {"cursor": page["next_cursor"]}


# Create


async def test_create_returns_the_review_its_location_and_etag(client: httpx.AsyncClient) -> None:
    before = datetime.now(UTC)
    response = await client.post("/api/reviews", json=REVIEW)
    assert response.status_code == 201
    body = response.json()
    assert {key: body[key] for key in REVIEW} == REVIEW
    assert body["sentiment"] is None
    assert UUID(body["id"]).version == 7
    assert body["created_at"] == body["updated_at"]
    assert before <= datetime.fromisoformat(body["created_at"]) <= datetime.now(UTC)
    assert set(body) == {*REVIEW, "id", "sentiment", "created_at", "updated_at"}

    read = await client.get(response.headers["Location"])
    assert read.status_code == 200
    assert read.json() == body
    assert read.headers["ETag"] == response.headers["ETag"]


async def test_the_location_includes_the_prefix_of_the_proxy(app: FastAPI, api_key: str) -> None:
    transport = httpx.ASGITransport(app, root_path="/movies-api")
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api.test", headers=bearer(api_key)
    ) as behind:
        response = await behind.post("/movies-api/api/reviews", json=REVIEW)
    assert response.headers["Location"] == f"/movies-api/api/reviews/{MOVIE}/{response.json()['id']}"


async def test_create_trims_whitespace_and_nothing_else(client: httpx.AsyncClient) -> None:
    text = "Élan 🎬\u200d👩 ‮ 映画\r\n\ttab e\u0301"
    created = await create(client, text=f" \n{text}\u3000 ", author=" Ada ")
    assert created["text"] == text
    assert created["author"] == "Ada"


async def test_the_rating_is_optional(client: httpx.AsyncClient) -> None:
    assert (await create(client, rating=None))["rating"] is None
    response = await client.post("/api/reviews", json={k: v for k, v in REVIEW.items() if k != "rating"})
    assert response.json()["rating"] is None


@pytest.mark.parametrize(
    "accepted",
    [
        {"text": "x"},
        {"text": "🎬" * 20_000},
        {"text": f"  {'x' * 20_000}  "},
        {"author": "名" * 100},
        {"author": "d'Ormesson-O\u2019Neill \N{WOMAN}\u200d\N{PERSONAL COMPUTER}"},
        {"rating": 1},
        {"rating": 10},
        {"rating": 9.0},
        {"movie_id": "a"},
        {"movie_id": "The_Thing-1982" + "x" * 50},
    ],
)
async def test_create_accepts_values_at_the_limits(
    client: httpx.AsyncClient, accepted: dict[str, Any]
) -> None:
    await create(client, **accepted)


@pytest.mark.parametrize(
    ("invalid", "field", "limit"),
    [
        ({"text": ""}, "text", "at least 1"),
        ({"text": " \n\u3000"}, "text", "at least 1"),
        ({"text": "x" * 20_001}, "text", "at most 20000"),
        ({"text": "a\0b"}, "text", "NUL"),
        ({"text": "\u200b\u200d"}, "text", "visible"),
        ({"text": "\ufe0f\u2800"}, "text", "visible"),
        ({"text": "\ud83d"}, "text", "unicode"),
        ({"text": None}, "text", "string"),
        ({"text": 5}, "text", "string"),
        ({"author": " "}, "author", "at least 1"),
        ({"author": "x" * 101}, "author", "at most 100"),
        ({"author": "a\nb"}, "author", "one line"),
        ({"author": "a\0b"}, "author", "one line"),
        ({"author": "a\u2028b"}, "author", "one line"),
        ({"author": "\u3164"}, "author", "visible"),
        ({"author": "a\u202eb"}, "author", "direction"),
        ({"author": "a\u2066b"}, "author", "direction"),
        ({"rating": 0}, "rating", "greater than or equal to 1"),
        ({"rating": 11}, "rating", "less than or equal to 10"),
        ({"rating": 7.5}, "rating", "integer"),
        ({"rating": "7"}, "rating", "integer"),
        ({"rating": True}, "rating", "integer"),
        ({"rating": 10**30}, "rating", "less than or equal to 10"),
        ({"movie_id": ""}, "movie_id", "pattern"),
        ({"movie_id": "x" * 65}, "movie_id", "pattern"),
        ({"movie_id": "tt 1"}, "movie_id", "pattern"),
        ({"movie_id": "tt1\n"}, "movie_id", "pattern"),
        ({"movie_id": "../x"}, "movie_id", "pattern"),
        ({"raiting": 3}, "raiting", "not permitted"),
        ({"sentiment": None}, "sentiment", "not permitted"),
        ({"id": str(uuid7())}, "id", "not permitted"),
    ],
)
async def test_create_names_the_invalid_field_and_its_limit(
    client: httpx.AsyncClient, sql: asyncpg.Connection, invalid: dict[str, Any], field: str, limit: str
) -> None:
    # Escaped to ASCII, because httpx cannot encode a lone surrogate.
    body = json.dumps({**REVIEW, **invalid})
    response = await client.post("/api/reviews", content=body, headers=JSON)
    found = faults(response)
    assert list(found) == [f"body.{field}"]
    assert limit in found[f"body.{field}"]
    assert await sql.fetchval("SELECT count(*) FROM review") == 0


async def test_create_names_all_missing_fields(client: httpx.AsyncClient) -> None:
    found = faults(await client.post("/api/reviews", json={}))
    assert set(found) == {"body.movie_id", "body.author", "body.text"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300)
)
async def test_text_round_trip(client: httpx.AsyncClient, text: str) -> None:
    text = f"<{text}>"
    created = await create(client, text=text)
    assert created["text"] == text
    read = await client.get(f"/api/reviews/{MOVIE}/{created['id']}")
    assert read.json()["text"] == text


async def test_the_review_is_committed_before_the_response_starts(
    client: httpx.AsyncClient, app: FastAPI, sql: asyncpg.Connection, api_key: str
) -> None:
    counts: list[int] = []

    async def observed(scope: Any, receive: Any, send: Any) -> None:
        async def count_reviews(message: Any) -> None:
            if message["type"] == "http.response.start":
                counts.append(await sql.fetchval("SELECT count(*) FROM review"))
            await send(message)

        await app(scope, receive, count_reviews)

    transport = httpx.ASGITransport(observed)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api.test", headers=bearer(api_key)
    ) as observing:
        await create(observing)
    assert counts == [1]


# List


async def test_list_of_an_unknown_movie_is_empty(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/reviews/nobody-saw-it")
    assert response.status_code == 200
    assert response.json() == {"items": [], "next_cursor": None}


async def test_list_is_newest_first_and_of_one_movie(client: httpx.AsyncClient) -> None:
    created = [await create(client, text=f"No. {number}") for number in range(3)]
    await create(client, movie_id="another")
    response = await client.get(f"/api/reviews/{MOVIE}")
    assert response.json() == {"items": created[::-1], "next_cursor": None}


async def test_list_returns_20_by_default(client: httpx.AsyncClient) -> None:
    for _ in range(21):
        await create(client)
    page = (await client.get(f"/api/reviews/{MOVIE}")).json()
    assert len(page["items"]) == 20
    rest = (await client.get(f"/api/reviews/{MOVIE}", params={"cursor": page["next_cursor"]})).json()
    assert len(rest["items"]) == 1
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
async def test_pages_of_equal_timestamps_have_no_gaps_or_duplicates(
    client: httpx.AsyncClient, sql: asyncpg.Connection, limit: int
) -> None:
    ids = [(await create(client))["id"] for _ in range(4)]
    await sql.execute("UPDATE review SET created_at = '2024-02-29T12:00:00.123456Z'")
    assert await walk(client, limit=limit) == sorted(ids, reverse=True)


async def test_pages_are_stable_during_concurrent_writes(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    ids = [(await create(client))["id"] for _ in range(6)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        params: dict[str, str | int] = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = (await client.get(f"/api/reviews/{MOVIE}", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        await create(client)
        # The cursor stays valid after its review has been deleted.
        await client.delete(f"/api/reviews/{seen[-1]}")
    assert seen == ids[::-1]
    assert cursor is None


async def test_list_filters_by_sentiment(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    ids = [(await create(client))["id"] for _ in range(5)]
    for review_id, label in zip(ids, ["positive", "negative", "positive", "positive"], strict=False):
        await mark(sql, review_id, label)
    assert await walk(client, sentiment="positive", limit=1) == [ids[3], ids[2], ids[0]]
    assert await walk(client, sentiment="negative", limit=1) == [ids[1]]
    assert await walk(client, limit=2) == ids[::-1]
    page = (await client.get(f"/api/reviews/{MOVIE}", params={"sentiment": "negative"})).json()
    assert page["items"][0]["sentiment"] == {"label": "negative", "score": 0.75, "model_version": "3"}
    (one,) = page["items"]
    assert one == (await client.get(f"/api/reviews/{MOVIE}/{one['id']}")).json()


async def test_pending_reviews_can_be_listed(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    ids = [(await create(client))["id"] for _ in range(4)]
    await mark(sql, ids[1], "negative")
    assert await walk(client, sentiment="pending", limit=1) == [ids[3], ids[2], ids[0]]


async def test_a_page_links_to_the_next(client: httpx.AsyncClient) -> None:
    ids = [(await create(client))["id"] for _ in range(3)]
    found, link = [], f"/api/reviews/{MOVIE}?sentiment=pending&limit=1"
    while link:
        page = await client.get(link)
        found += [one["id"] for one in page.json()["items"]]
        link = page.links.get("next", {}).get("url", "")
    assert found == ids[::-1]


@pytest.mark.parametrize(
    ("query", "field", "limit"),
    [
        ({"limit": 0}, "query.limit", "greater than or equal to 1"),
        ({"limit": 101}, "query.limit", "less than or equal to 100"),
        ({"limit": "x"}, "query.limit", "integer"),
        ({"limit": [1, 2]}, "query.limit", "repeated"),
        ({"sentiment": "mixed"}, "query.sentiment", "'positive', 'negative' or 'pending'"),
    ],
)
async def test_list_names_the_invalid_parameter(
    client: httpx.AsyncClient, query: dict[str, Any], field: str, limit: str
) -> None:
    found = faults(await client.get(f"/api/reviews/{MOVIE}", params=query))
    assert list(found) == [field]
    assert limit in found[field]


async def test_a_cursor_is_valid_only_unchanged_and_in_its_own_list(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await create(client)
    path = f"/api/reviews/{MOVIE}"
    cursor = (await client.get(path, params={"limit": 1})).json()["next_cursor"]
    assert (await client.get(path, params={"cursor": cursor})).status_code == 200

    changed = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    for bad in [changed, cursor[:-1], cursor + "A", cursor + "====", "", "é", "\0", "x" * 9000]:
        refused = await client.get(f"{path}?{urlencode({'cursor': bad})}")
        assert list(faults(refused)) == ["query.cursor"]
    elsewhere = await client.get("/api/reviews/another", params={"cursor": cursor})
    assert "another list" in faults(elsewhere)["query.cursor"]
    filtered = await client.get(path, params={"cursor": cursor, "sentiment": "positive"})
    assert "another list" in faults(filtered)["query.cursor"]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({}, "review_newest"),
        ({"sentiment": "positive"}, "review_newest_by_label"),
        ({"sentiment": "pending"}, "review_newest_unscored"),
    ],
)
async def test_every_page_is_read_in_order_from_an_index(
    client: httpx.AsyncClient, app: FastAPI, sql: asyncpg.Connection, query: dict[str, str], index: str
) -> None:
    await sql.execute(
        "INSERT INTO review SELECT gen_random_uuid(), $1, 'a', 't', null, 1,"
        " (ARRAY['positive', 'negative'])[n % 3 + 1], CASE WHEN n % 3 < 2 THEN 0.5 END,"
        " CASE WHEN n % 3 < 2 THEN '1' END, now() - n * interval '1 s', now()"
        " FROM generate_series(1, 5000) AS n",
        MOVIE,
    )
    await sql.execute("ANALYZE review")
    statements: list[tuple[str, Any]] = []

    def note(_: Connection, __: Any, statement: str, parameters: Any, *rest: Any) -> None:
        statements.append((statement, parameters))

    engine = app.state.engine
    first = (await client.get(f"/api/reviews/{MOVIE}", params=query)).json()
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        await client.get(f"/api/reviews/{MOVIE}", params={**query, "cursor": first["next_cursor"]})
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)
    ((statement, parameters),) = [row for row in statements if "FROM review" in row[0]]
    async with engine.connect() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        plan = "\n".join(row[0] for row in rows)
    assert f"Index Scan using {index} " in plan
    assert "Sort" not in plan
    assert "Filter" not in plan


# Read


async def test_read_is_404_for_an_unknown_review_or_another_movie(client: httpx.AsyncClient) -> None:
    review = await create(client)
    problem(await client.get(f"/api/reviews/another/{review['id']}"), 404)
    problem(await client.get(f"/api/reviews/{MOVIE}/{uuid7()}"), 404)
    problem(await client.get(f"/api/reviews/tt%201/{review['id']}"), 404)


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("GET", f"/api/reviews/{MOVIE}/first", "path.review_id"),
        ("GET", "/api/reviews/tt%00", "path.movie_id"),
        ("GET", "/api/reviews/" + "x" * 65, "path.movie_id"),
        ("PUT", f"/api/reviews/{MOVIE}", "path.review_id"),
        ("DELETE", f"/api/reviews/{MOVIE}", "path.review_id"),
    ],
)
async def test_an_invalid_path_parameter_is_404(
    client: httpx.AsyncClient, method: str, path: str, field: str
) -> None:
    body = UPDATE if method == "PUT" else None
    assert list(faults(await client.request(method, path, json=body), 404)) == [field]


# Replace


async def test_replace_changes_the_editable_fields(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    before = created.json()
    response = await client.put(f"/api/reviews/{before['id']}", json=UPDATE)
    assert response.status_code == 200
    after = response.json()
    assert after == {**before, **UPDATE, "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert response.headers["ETag"] != created.headers["ETag"]
    read = await client.get(created.headers["Location"])
    assert read.json() == after
    assert read.headers["ETag"] == response.headers["ETag"]


async def test_replace_without_a_rating_removes_it(client: httpx.AsyncClient) -> None:
    review = await create(client, rating=9)
    response = await client.put(f"/api/reviews/{review['id']}", json={"author": "Ada", "text": "Hm."})
    assert response.json()["rating"] is None


async def test_a_new_text_drops_the_sentiment_and_a_new_rating_keeps_it(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    review = await create(client)
    await mark(sql, review["id"], "positive")
    path = f"/api/reviews/{review['id']}"
    same_text = await client.put(path, json={"author": "Ada L.", "text": review["text"], "rating": 1})
    assert same_text.json()["sentiment"] == {"label": "positive", "score": 0.75, "model_version": "3"}
    new_text = await client.put(path, json=UPDATE)
    assert new_text.json()["sentiment"] is None
    row = await sql.fetchrow("SELECT num_nonnulls(sentiment_label, sentiment_score) FROM review")
    assert row[0] == 0


READ_ONLY = {
    "id": "00000000-0000-0000-0000-000000000000",
    "movie_id": "another",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2126-01-01T00:00:00Z",
    "sentiment": {"label": "negative", "score": 0.75, "model_version": "3"},
}


@pytest.mark.parametrize("by_id", [False, True])
async def test_what_was_read_can_be_changed_and_written_back(
    client: httpx.AsyncClient, sql: asyncpg.Connection, by_id: bool
) -> None:
    created = await create(client)
    await mark(sql, created["id"], "positive")
    path = f"/api/reviews/{MOVIE}/{created['id']}"
    read = (await client.get(path)).json()
    written = await client.put(f"/api/reviews/{created['id']}" if by_id else path, json={**read, "rating": 2})
    assert written.json() == {**read, "rating": 2, "updated_at": written.json()["updated_at"]}
    assert written.headers["Content-Location"] == path
    again = await client.put(path, json={**read, "rating": 2})
    assert again.status_code == 200, "an answer that was lost"
    without = {**again.json(), "sentiment": None}
    assert (await client.put(path, json=without)).status_code == 200, "the sentiment came meanwhile"


@pytest.mark.parametrize("field", READ_ONLY)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_changed_read_only_field_is_named(
    client: httpx.AsyncClient, sql: asyncpg.Connection, method: str, field: str
) -> None:
    created = await create(client)
    await mark(sql, created["id"], "positive")
    path = f"/api/reviews/{MOVIE}/{created['id']}"
    read = (await client.get(path)).json()
    response = await client.request(method, path, json={**read, "rating": 2, field: READ_ONLY[field]})
    (fault,) = problem(response, 422)["errors"]
    assert (fault["field"], fault["code"]) == (field, "read_only")
    assert path in fault["detail"]
    assert (await client.get(path)).json() == read


async def test_a_patch_without_fields_changes_nothing(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    patched = await client.patch(created.headers["Location"], json={})
    assert (patched.json(), patched.headers["ETag"]) == (created.json(), created.headers["ETag"])


@pytest.mark.parametrize(("first", "second", "status"), [('"9"', '"1"', 412), ('"9"', '"8"', 200)])
async def test_the_lines_of_a_repeated_header_are_one_list(
    client: httpx.AsyncClient, first: str, second: str, status: int
) -> None:
    path = (await client.post("/api/reviews", json=REVIEW)).headers["Location"]
    lines = [("If-None-Match", first), ("If-None-Match", second)]
    assert (await client.patch(path, json={"rating": 1}, headers=lines)).status_code == status


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
async def test_patch_changes_only_what_is_sent(
    client: httpx.AsyncClient, sql: asyncpg.Connection, media_type: str
) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    await mark(sql, created.json()["id"], "positive")
    path, headers = created.headers["Location"], {"Content-Type": media_type}
    read = (await client.get(path)).json()
    patched = await client.patch(path, content=b'{"rating": null}', headers=headers)
    assert patched.json() == {**read, "rating": None, "updated_at": patched.json()["updated_at"]}
    stale = {**headers, "If-Match": created.headers["ETag"]}
    problem(await client.patch(path, content=b"{}", headers=stale), 412)
    new_text = await client.patch(path, content=b'{"text": "Dull."}', headers=headers)
    assert (new_text.json()["text"], new_text.json()["sentiment"]) == ("Dull.", None)


@pytest.mark.parametrize("invalid", [{"author": None}, {"text": ""}, {"rating": 0}, {"movie": MOVIE}])
async def test_patch_validates_like_replace(client: httpx.AsyncClient, invalid: dict[str, Any]) -> None:
    review = await create(client)
    path = f"/api/reviews/{MOVIE}/{review['id']}"
    assert list(faults(await client.patch(path, json=invalid))) == [f"body.{next(iter(invalid))}"]
    assert (await client.get(path)).json() == review


async def test_a_review_has_one_path_for_all_methods(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    path = created.headers["Location"]
    elsewhere = path.replace(MOVIE, "another")
    for method, body in (("PUT", UPDATE), ("PATCH", {}), ("DELETE", None)):
        problem(await client.request(method, elsewhere, json=body), 404)
    assert (await client.put(path, json=UPDATE)).headers["Content-Location"] == path
    refused = await client.delete(path, headers={"If-Match": created.headers["ETag"]})
    assert path in problem(refused, 412)["detail"]
    assert (await client.delete(path)).status_code == 204
    problem(await client.get(path), 404)


@pytest.mark.parametrize("invalid", [{"rating": 11}, {"text": ""}, {"movie": MOVIE}, {"author": None}])
async def test_replace_validates_like_create(client: httpx.AsyncClient, invalid: dict[str, Any]) -> None:
    review = await create(client)
    found = faults(await client.put(f"/api/reviews/{review['id']}", json={**UPDATE, **invalid}))
    assert list(found) == [f"body.{next(iter(invalid))}"]
    read = await client.get(f"/api/reviews/{MOVIE}/{review['id']}")
    assert read.json() == review


async def test_replace_and_delete_are_404_for_an_unknown_review(client: httpx.AsyncClient) -> None:
    path = f"/api/reviews/{uuid7()}"
    problem(await client.put(path, json=UPDATE), 404)
    problem(await client.put(path, json=UPDATE, headers={"If-Match": "*"}), 404)
    problem(await client.delete(path), 404)


@pytest.mark.parametrize(
    ("tags", "matches"),
    [
        ("{now}", True),
        ("*", True),
        ('"other", {now}', True),
        ('"other"', False),
        ("W/{now}", True),
        ('"1-gzip"', True),
        ('W/"1-br"', True),
        ('"2", "1--gzip"', True),
        ('"2-gzip"', False),
        ('"1-zip"', True),  # a sentiment of the version `zip`: a new sentiment is not an edit
        ("1", False),
        ("", False),
        ("nonsense", False),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_if_match(client: httpx.AsyncClient, method: str, tags: str, matches: bool) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    path = f"/api/reviews/{created.json()['id']}"
    headers = {"If-Match": tags.format(now=created.headers["ETag"])}
    body = UPDATE if method == "PUT" else None
    response = await client.request(method, path, json=body, headers=headers)
    if matches:
        assert response.status_code == {"PUT": 200, "DELETE": 204}[method]
    else:
        assert created.headers["ETag"] in problem(response, 412)["detail"]
        assert (await client.get(created.headers["Location"])).json() == created.json()


@pytest.mark.parametrize("tags", ["*", "{now}", 'W/"1-gzip"'])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_if_none_match_prevents_a_change(client: httpx.AsyncClient, method: str, tags: str) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    path, headers = f"/api/reviews/{created.json()['id']}", {"If-None-Match": tags.format(now='"1"')}
    body = UPDATE if method == "PUT" else None
    problem(await client.request(method, path, json=body, headers=headers), 412)
    assert (await client.get(created.headers["Location"])).json() == created.json()
    headers = {"If-None-Match": '"9"'}
    assert (await client.request(method, path, json=body, headers=headers)).is_success


async def test_exactly_one_of_many_concurrent_conditional_edits_succeeds(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    path, headers = f"/api/reviews/{created.json()['id']}", {"If-Match": created.headers["ETag"]}
    responses = await asyncio.gather(
        *(client.put(path, json={**UPDATE, "text": f"No. {n}"}, headers=headers) for n in range(20))
    )
    assert sorted(response.status_code for response in responses) == [200] + [412] * 19
    (winner,) = [response for response in responses if response.status_code == 200]
    assert (await client.get(created.headers["Location"])).json() == winner.json()


# Delete


async def test_delete_is_final(client: httpx.AsyncClient) -> None:
    review = await create(client)
    path = f"/api/reviews/{review['id']}"
    response = await client.delete(path)
    assert response.status_code == 204
    assert response.content == b""
    assert "content-type" not in response.headers
    problem(await client.get(f"/api/reviews/{MOVIE}/{review['id']}"), 404)
    problem(await client.delete(path), 404)
    assert await walk(client) == []


async def test_exactly_one_of_many_concurrent_deletes_succeeds(client: httpx.AsyncClient) -> None:
    path = f"/api/reviews/{(await create(client))['id']}"
    responses = await asyncio.gather(*(client.delete(path) for _ in range(8)))
    assert sorted(response.status_code for response in responses) == [204] + [404] * 7


@pytest.mark.parametrize("tags", ["{now}", "W/{now}", '"x", {now}', "*", '"1-gzip"', 'W/"1-zstd"'])
async def test_if_none_match_with_a_current_etag_is_304(client: httpx.AsyncClient, tags: str) -> None:
    created = await client.post("/api/reviews", json=REVIEW)
    now = created.headers["ETag"]
    path, known = created.headers["Location"], {"If-None-Match": tags.format(now=now)}
    response = await client.get(path, headers=known)
    assert (response.status_code, response.content, response.headers["ETag"]) == (304, b"", now)
    assert (await client.get(path, headers={"If-None-Match": '"9", x'})).status_code == 200
    await client.put(f"/api/reviews/{created.json()['id']}", json=UPDATE)
    assert (await client.get(path, headers={"If-None-Match": now})).status_code == 200
