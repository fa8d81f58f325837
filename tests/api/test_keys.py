"""`python -m api.keys`: create, list, rotate and revoke API keys."""

import re

import httpx
import pytest

from api.credentials import PATTERN, new_key
from api.keys import main
from tests.api.commands import run_main, run_process
from tests.api.conftest import bearer
from tests.api.requests import REVIEW
from tests.postgres import NewDatabase


async def keys(database_url: str, *words: str, stdin: str = "", code: int = 0) -> str:
    """Run the command and return its output, errors included."""
    done = await run_main(main, *words, database_url=database_url, stdin=stdin)
    assert done.returncode == code, done.output
    return done.output.strip()


async def post(client: httpx.AsyncClient, key: str) -> int:
    return (await client.post("/api/reviews", json=REVIEW, headers=bearer(key))).status_code


async def test_the_life_of_a_key(database_url: str, client: httpx.AsyncClient) -> None:
    words = ("create", "the importer", "--scopes", "read,write", "--expires-days", "30")
    created = run_process("api.keys", *words, database_url=database_url)
    assert created.returncode == 0, created.output
    key = created.output.strip()
    found = PATTERN.fullmatch(key)
    assert found, key
    assert await post(client, key) == 201
    lines = (await keys(database_url, "list")).splitlines()
    (line,) = [line for line in lines if line.startswith(found[1])]
    assert re.fullmatch(rf"{found[1]}  {found[1]}  the importer +read,write +(20[\d-]+ [\d:]+ *){{3}}", line)
    assert key[21:] not in line
    assert "has been revoked" in await keys(database_url, "revoke", found[1])
    assert await post(client, key) == 401
    assert "has been revoked" in await keys(database_url, "list")
    assert "has been revoked" in await keys(database_url, "revoke", key), "again, by the whole key"


@pytest.mark.parametrize("overlap", [0, 24])
async def test_a_rotated_key_keeps_its_reviews(
    database_url: str, client: httpx.AsyncClient, overlap: int
) -> None:
    old = await keys(database_url, "create", "leaky", "--scopes", "read,write", "--expires-days", "30")
    once = {**bearer(old), "Idempotency-Key": f"rotated-{overlap}"}
    created = await client.post("/api/reviews", json=REVIEW, headers=once)
    said, new = (await keys(database_url, "rotate", old, "--overlap-hours", str(overlap))).splitlines()
    assert "expires at" in said
    again = await client.post("/api/reviews", json=REVIEW, headers={**once, **bearer(new)})
    assert again.json() == created.json(), "an owner's Idempotency-Keys are the same for all their keys"
    changed = await client.patch(created.headers["Location"], json={"rating": 1}, headers=bearer(new))
    assert changed.status_code == 200
    assert await post(client, old) == (201 if overlap else 401)
    *_, newest = (await keys(database_url, "rotate", new)).splitlines()
    second = await keys(database_url, "create", "laptop", "--owner", newest)
    assert (await client.delete(created.headers["Location"], headers=bearer(second))).status_code == 204
    listed = await keys(database_url, "list")
    assert len(re.findall(f"^[0-9a-f]{{16}}  {old[4:20]}  ", listed, re.MULTILINE)) == 4, "one owner"
    assert f"--owner {new[4:20]}" in await keys(database_url, "rotate", new, code=1), "it has been revoked"


async def test_create_reads_a_key_from_standard_input(database_url: str, client: httpx.AsyncClient) -> None:
    key = new_key()
    for _ in range(2):
        assert await keys(database_url, "create", "deployed", "--stdin", stdin=f"{key}\n") == ""
    assert await post(client, key) == 201
    changed = ("create", "x", "--stdin", "--scopes", "admin")
    assert "other scopes" in await keys(database_url, *changed, stdin=key, code=1)
    other = f"{key[:-1]}{'0' if key[-1] != '0' else '1'}"
    message = await keys(database_url, "create", "x", "--stdin", stdin=other, code=1)
    assert "another key with the id" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "x", "--scopes", "root"), "read, write, admin"),
        (("create", "x", "--scopes", ""), "read, write, admin"),
        (("create", "x", "--expires-days", "0"), "from 1 to 36500"),
        (("rotate", "x", "--overlap-hours", "9000"), "from 0 to 8760"),
        (("create", ""), "1 to 100 printable"),
        (("create", "a\nb"), "1 to 100 printable"),
        ((), "create"),
    ],
)
async def test_invalid_arguments_are_rejected_with_the_valid_ones(
    words: tuple[str, ...], message: str
) -> None:
    assert message in await keys("", *words, code=2)


async def test_an_unknown_or_malformed_key_is_an_error(database_url: str) -> None:
    for words in (("revoke", "0" * 16), ("rotate", "0" * 16), ("create", "x", "--owner", "0" * 16)):
        assert "api.keys list" in await keys(database_url, *words, code=1)
    assert "64 more" in await keys(database_url, "create", "x", "--stdin", stdin="secret", code=1)


async def test_a_database_without_tables_and_an_unreachable_one(new_database: NewDatabase) -> None:
    assert "alembic upgrade head" in await keys(await new_database(), "list", code=1)
    assert "DATABASE_URL" in await keys("postgresql+asyncpg://nobody@127.0.0.1:1/x", "list", code=1)
