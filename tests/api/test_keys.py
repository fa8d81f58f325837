"""The command with which keys are made, shown and revoked."""

import os
import re
import subprocess
import sys

import httpx
import pytest

from api.credentials import PATTERN, new_key
from tests.api.conftest import bearer
from tests.api.requests import REVIEW
from tests.postgres import ROOT, NewDatabase


def keys(database_url: str, *words: str, given: str = "", code: int = 0) -> str:
    """Run the command as an operator does; what it says, errors included."""
    done = subprocess.run(
        [sys.executable, "-m", "api.keys", *words],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout.strip()


async def post(client: httpx.AsyncClient, key: str) -> int:
    return (await client.post("/api/reviews", json=REVIEW, headers=bearer(key))).status_code


async def test_from_its_making_to_its_end(database_url: str, client: httpx.AsyncClient) -> None:
    key = keys(database_url, "create", "the importer", "--scopes", "read,write", "--expires-days", "30")
    found = PATTERN.fullmatch(key)
    assert found, key
    assert await post(client, key) == 201
    (line,) = [line for line in keys(database_url, "list").splitlines() if line.startswith(found[1])]
    assert re.fullmatch(rf"{found[1]}  the importer +read,write +(20[\d-]+ [\d:]+ *){{3}}", line)
    assert key[21:] not in line
    assert "has been revoked" in keys(database_url, "revoke", found[1])
    assert await post(client, key) == 401
    assert "has been revoked" in keys(database_url, "list")
    assert "has been revoked" in keys(database_url, "revoke", key), "again, by the whole key"


async def test_a_key_from_a_store_of_secrets(database_url: str, client: httpx.AsyncClient) -> None:
    key = new_key()
    for _ in range(2):
        assert keys(database_url, "create", "deployed", "--stdin", given=f"{key}\n") == ""
    assert await post(client, key) == 201
    other = f"{key[:-1]}{'0' if key[-1] != '0' else '1'}"
    assert "another key with the id" in keys(database_url, "create", "x", "--stdin", given=other, code=1)


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
def test_nonsense_is_refused_with_what_is_allowed(
    database_url: str, words: tuple[str, ...], said: str
) -> None:
    assert said in keys(database_url, *words, code=2)


def test_what_is_not_there_is_said(database_url: str) -> None:
    assert "api.keys list" in keys(database_url, "revoke", "0" * 16, code=1)
    assert "64 more" in keys(database_url, "create", "x", "--stdin", given="secret", code=1)


async def test_without_tables_or_database(new_database: NewDatabase) -> None:
    assert "alembic upgrade head" in keys(await new_database(), "list", code=1)
    assert "DATABASE_URL" in keys("postgresql+asyncpg://nobody@127.0.0.1:1/x", "list", code=1)
