"""Texts and authors of reviews are in the database only: neither in logs nor in traces, whatever fails."""

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from tests.deploy.stack import Stack, wait_for
from tests.e2e.collector import Collector
from tests.postgres import plain


@pytest.fixture
def word(stack: Stack) -> Iterator[str]:
    """What all texts and authors of a test contain."""
    yield f"sesame{secrets.token_hex(8)}"
    execute(stack, "ALTER TABLE review DROP CONSTRAINT IF EXISTS refused")
    stack.run("up")


def execute(stack: Stack, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(plain(stack.database_url))
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


def wait_for_sentiment(client: httpx.Client, review: dict[str, Any]) -> None:
    location = client.post("/api/reviews", json=review).headers["Location"]
    wait_for(lambda: client.get(location).json()["sentiment"] is not None)


def test_no_log_and_no_trace_holds_a_text_or_an_author(
    stack: Stack, client: httpx.Client, collector: Collector, word: str
) -> None:
    review = {"movie_id": "private", "author": f"{word} Ada", "text": f"{word} is dull.", "rating": 1}
    wait_for_sentiment(client, review)
    for invalid in ({**review, "rating": 99}, {**review, word: 1}, [word], {**review, "author": f"{word}\0"}):
        assert client.post("/api/reviews", json=invalid).status_code == 422

    # PostgreSQL quotes the whole row in the DETAIL of these errors.
    execute(stack, "ALTER TABLE review ADD CONSTRAINT refused CHECK (rating <> 7) NOT VALID")
    failed = client.post("/api/reviews", json={**review, "rating": 7})
    assert failed.status_code == 500
    assert word not in failed.text
    execute(stack, "ALTER TABLE review DROP CONSTRAINT refused")
    execute(stack, "ALTER TABLE review ADD CONSTRAINT refused CHECK (sentiment_label IS NULL) NOT VALID")
    assert client.post("/api/reviews", json=review).status_code == 201
    log = stack.var / "log" / "worker.log"
    wait_for(lambda: 'violates check constraint "refused"' in log.read_text().replace("\\", ""))
    execute(stack, "ALTER TABLE review DROP CONSTRAINT refused")

    stack.supervisor.stop("bento")
    assert client.post("/api/analyze", json={"text": review["text"]}).status_code == 503
    assert client.post("/api/reviews", json=review).status_code == 201
    stack.supervisor.stop("postgres")
    assert client.post("/api/reviews", json=review).status_code == 503
    stack.run("up")
    wait_for_sentiment(client, review)

    for file in (stack.var / "log").rglob("*"):
        if file.is_file():
            assert word not in file.read_text(errors="replace"), file
    assert collector.bodies
    assert not [body for body in collector.bodies if word.encode() in body]
