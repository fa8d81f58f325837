"""`python -m api.keys`: create, list and revoke API keys."""

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
    assert re.fullmatch(rf"{found[1]}  the importer +read,write +(20[\d-]+ [\d:]+ *){{3}}", line)
    assert key[21:] not in line
    assert "has been revoked" in await keys(database_url, "revoke", found[1])
    assert await post(client, key) == 401
    assert "has been revoked" in await keys(database_url, "list")
    assert "has been revoked" in await keys(database_url, "revoke", key), "again, by the whole key"


async def test_create_reads_a_key_from_standard_input(database_url: str, client: httpx.AsyncClient) -> None:
    key = new_key()
    for _ in range(2):
        assert await keys(database_url, "create", "deployed", "--stdin", stdin=f"{key}\n") == ""
    assert await post(client, key) == 201
    other = f"{key[:-1]}{'0' if key[-1] != '0' else '1'}"
    said = await keys(database_url, "create", "x", "--stdin", stdin=other, code=1)
    assert "another key with the id" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x", "--scopes", "root"), "read, write, admin"),
        (("create", "x", "--scopes", ""), "read, write, admin"),
        (("create", "x", "--expires-days", "0"), "from 1 to 36500"),
        (("create", ""), "1 to 100 printable"),
        (("create", "a\nb"), "1 to 100 printable"),
        ((), "create"),
    ],
)
async def test_invalid_arguments_are_rejected_with_the_valid_ones(words: tuple[str, ...], said: str) -> None:
    assert said in await keys("", *words, code=2)


async def test_an_unknown_or_malformed_key_is_an_error(database_url: str) -> None:
    assert "api.keys list" in await keys(database_url, "revoke", "0" * 16, code=1)
    assert "64 more" in await keys(database_url, "create", "x", "--stdin", stdin="secret", code=1)


async def test_a_database_without_tables_and_an_unreachable_one(new_database: NewDatabase) -> None:
    assert "alembic upgrade head" in await keys(await new_database(), "list", code=1)
    assert "DATABASE_URL" in await keys("postgresql+asyncpg://nobody@127.0.0.1:1/x", "list", code=1)
