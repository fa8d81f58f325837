"""Thirty clients edit one review at the same time."""

import asyncio
from dataclasses import dataclass

import asyncpg
import httpx

from tests.api.requests import UPDATE, create

CLIENTS = 30


@dataclass(frozen=True)
class Edit:
    """One PUT that was answered 200: what its client had read, what it wrote, and the ETag it was given."""

    read_etag: str
    read_text: str
    text: str
    etag: str


async def add_line(client: httpx.AsyncClient, place: str, path: str, number: int) -> Edit:
    """Adds a line to the text, as often as it takes: reads it, and replaces it if it is still the same."""
    while True:
        read = await client.get(place)
        text = f"{read.json()['text']}\nclient {number}"
        put = await client.put(
            path, json={**UPDATE, "text": text}, headers={"If-Match": read.headers["ETag"]}
        )
        assert put.status_code in {200, 412}, put.text
        if put.status_code == 200:
            assert put.json()["text"] == text
            return Edit(read.headers["ETag"], read.json()["text"], text, put.headers["ETag"])


async def test_with_if_match_no_edit_is_lost(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    created = await create(client, text="Begun.")
    place, path = f"/api/reviews/{created['movie_id']}/{created['id']}", f"/api/reviews/{created['id']}"
    edits = await asyncio.gather(*(add_line(client, place, path, number) for number in range(CLIENTS)))

    assert await sql.fetchval("SELECT revision FROM review") == 1 + CLIENTS
    # Each was made of what the one before had written: one chain from the first text to the last.
    made_of = {edit.read_etag: edit for edit in edits}
    assert len(made_of) == CLIENTS
    etag, text = '"1"', "Begun."
    for _ in range(CLIENTS):
        edit = made_of[etag]
        assert edit.read_text == text
        etag, text = edit.etag, edit.text
    last = await client.get(place)
    assert (last.headers["ETag"], last.json()["text"]) == (etag, text)
    first, *lines = text.splitlines()
    assert first == "Begun."
    assert sorted(lines) == sorted(f"client {number}" for number in range(CLIENTS))


async def test_without_a_condition_every_edit_is_done_one_after_another(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    created = await create(client)
    place, path = f"/api/reviews/{created['movie_id']}/{created['id']}", f"/api/reviews/{created['id']}"
    answers = await asyncio.gather(
        *(client.put(path, json={**UPDATE, "text": f"client {number}"}) for number in range(CLIENTS))
    )
    assert [answer.status_code for answer in answers] == [200] * CLIENTS
    assert [answer.json()["text"] for answer in answers] == [f"client {number}" for number in range(CLIENTS)]
    by_etag = {answer.headers["ETag"]: answer.json() for answer in answers}
    assert by_etag.keys() == {f'"{revision}"' for revision in range(2, CLIENTS + 2)}
    assert await sql.fetchval("SELECT revision FROM review") == 1 + CLIENTS
    last = await client.get(place)
    assert last.headers["ETag"] == f'"{CLIENTS + 1}"'
    assert last.json() == by_etag[last.headers["ETag"]]
