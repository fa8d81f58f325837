"""The worker with a real PostgreSQL and a mocked Bento, which can be slow, down or wrong."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from api import review_queue
from api.bento.client import MAX_TEXTS, BentoClient
from api.cleanup import BATCH, Cleanup
from api.database import connect
from api.sentiments import Sentiment
from api.settings import Settings
from api.worker import LONGEST_DELAY, Worker, main, retry_delay
from tests.api import requests
from tests.api.commands import run_main
from tests.api.conftest import PATIENT, Clock
from tests.api.waiting import until
from tests.postgres import ROOT, database_urls


class Bento:
    """Classifies a text that contains 'good' as positive; attributes can be changed during a test."""

    def __init__(self) -> None:
        self.version, self.down, self.gone = "1", False, False
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.read: list[str] = []
        self.fast_texts = MAX_TEXTS
        self.before_answer: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        texts: list[str] = json.loads(request.content)["texts"]
        await self.gate.wait()
        self.asked += 1
        if self.before_answer:
            await self.before_answer()
        if len(texts) > self.fast_texts or "slow" in texts:
            return httpx.Response(504)
        if self.gone:
            raise httpx.ConnectError("no Bento", request=request)
        if self.down:
            return httpx.Response(503)
        self.read += texts
        if "poison" in texts:
            return httpx.Response(500)
        return httpx.Response(200, json=[self.answer(text) for text in texts])

    def answer(self, text: str) -> dict[str, Any]:
        if text == "unreadable":
            return {"error": "no"}
        label = "positive" if "good" in text.lower() else "negative"
        return {"label": label, "score": 0.9, "model_version": self.version}


@pytest.fixture
def bento() -> Bento:
    return Bento()


@asynccontextmanager
async def working(database_url: str, bento: Bento, **changed: Any) -> AsyncIterator[Worker]:
    """A worker that polls once a minute: whatever it does sooner was triggered by NOTIFY."""
    options = {"database_url": database_url, "worker_poll_seconds": 60, **PATIENT, **changed}
    config = Settings(_env_file=None, **options)
    bento_client = BentoClient(config, httpx.MockTransport(bento))
    worker = Worker(config, bento_client)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, 60)
        await bento_client.aclose()


async def create(client: httpx.AsyncClient, text: str = "Good.") -> dict[str, Any]:
    return await requests.create(client, movie_id="tt1", text=text)


async def read(client: httpx.AsyncClient, review: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/api/reviews/{review['movie_id']}/{review['id']}")).json()
    return found


async def edit(client: httpx.AsyncClient, review: dict[str, Any], **changed: Any) -> None:
    body = {name: review[name] for name in ("author", "text", "rating")} | changed
    assert (await client.put(f"/api/reviews/{review['id']}", json=body)).status_code == 200


async def test_a_new_review_is_analysed_without_waiting_for_the_poll(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    async with working(database_url, bento):
        await until(lambda: listening(sql))
        review = await create(client)
        assert review["sentiment"] is None
        await until(lambda: done(client, review), seconds=30)
    expected = {"label": "positive", "score": 0.9, "model_version": "1"}
    after = await read(client, review)
    assert after == {**review, "sentiment": expected}, "nothing else has changed, not even updated_at"
    listed = (await client.get("/api/reviews/tt1?sentiment=positive")).json()["items"]
    assert listed == [after]


async def done(client: httpx.AsyncClient, review: dict[str, Any]) -> bool:
    return (await read(client, review))["sentiment"] is not None


async def test_reviews_written_while_no_worker_ran_are_analysed(
    database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    await sql.execute("TRUNCATE review")
    await insert_reviews(sql, 150)
    async with working(database_url, bento):
        await until(lambda: all_done(sql))
    assert sorted(bento.read) == sorted(f"Good {number}." for number in range(150)), "each once"


async def insert_reviews(sql: asyncpg.Connection, count: int) -> None:
    await sql.execute(
        "INSERT INTO review (id, movie_id, author, text, revision, created_at, updated_at)"
        " SELECT gen_random_uuid(), 'tt1', 'Ada', 'Good ' || n || '.', 1, now(), now()"
        " FROM generate_series(0, $1 - 1) AS n",
        count,
    )


async def all_done(sql: asyncpg.Connection) -> bool:
    return bool(await sql.fetchval("SELECT count(*) FILTER (WHERE sentiment_label IS NULL) = 0 FROM review"))


async def test_many_workers_share_the_reviews(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    async with (
        working(database_url, bento),
        working(database_url, bento),
        working(database_url, bento),
    ):
        await asyncio.gather(*(create(client, f"Good {number}.") for number in range(100)))
        await until(lambda: all_done(sql))
    assert len(bento.read) == len(set(bento.read)) == 100


async def test_an_edit_during_the_analysis_discards_the_old_result(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    bento.gate.clear()
    # Before the worker starts, so that it claims both at once.
    edited, rated = await create(client), await create(client)
    async with working(database_url, bento):
        await until(lambda: claimed(sql, 2))
        async with asyncio.timeout(30):  # edits do not wait for the model
            await edit(client, edited, text="Awful.")
            await edit(client, rated, rating=1)
        bento.gate.set()
        await until(lambda: all_done(sql))
    after = await read(client, edited)
    assert after["sentiment"]["label"] == "negative"
    assert (await read(client, rated))["sentiment"]["label"] == "positive"
    assert sorted(bento.read) == ["Awful.", "Good.", "Good."], "a new rating does not require a new analysis"


async def claimed(sql: asyncpg.Connection, count: int) -> bool:
    found = await sql.fetchval("SELECT count(*) FROM review WHERE analyze_after > now()")
    return bool(found == count)


async def test_a_review_deleted_during_the_analysis_is_ignored(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    bento.gate.clear()
    async with working(database_url, bento):
        gone = await create(client)
        await until(lambda: claimed(sql, 1))
        assert (await client.delete(f"/api/reviews/{gone['id']}")).status_code == 204
        bento.gate.set()
        await create(client)
        await until(lambda: all_done(sql))


async def test_an_unavailable_bento_delays_reviews_and_loses_none(
    client: httpx.AsyncClient,
    database_url: str,
    bento: Bento,
    sql: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bento.down = True
    async with working(database_url, bento):
        reviews = [await create(client, f"Good {number}.") for number in range(3)]
        await until(lambda: retried(caplog, 2))
        assert [await done(client, review) for review in reviews] == [False] * 3
        bento.down = False
        await until(lambda: all_done(sql))
    assert await sql.fetchval("SELECT max(analyze_attempts) FROM review") == 0, "the texts were not at fault"


async def retried(caplog: pytest.LogCaptureFixture, times: int) -> bool:
    return caplog.text.count("stamina.retry_scheduled") >= times


async def test_an_open_breaker_protects_the_bento_from_the_workers_retries(
    client: httpx.AsyncClient,
    database_url: str,
    bento: Bento,
    sql: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:
    monkeypatch.setattr("api.worker.LONGEST_PAUSE", 0.5)
    bento.gone = True
    breaker = {"api_bento_breaker_failures": 1, "api_bento_breaker_seconds": 60}
    async with working(database_url, bento, **breaker):
        reviews = [await create(client, f"Good {number}.") for number in range(3)]
        await until(lambda: retried(caplog, 4))
        assert bento.asked == 1
        assert [await done(client, review) for review in reviews] == [False] * 3
        bento.gone = False
        clock.advance(60)
        await until(lambda: all_done(sql))
    assert await sql.fetchval("SELECT max(analyze_attempts) FROM review") == 0, "the texts were not at fault"


async def test_a_text_that_the_bento_fails_on_does_not_delay_the_others(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    texts = ("Good.", "poison", "unreadable", "Awful.")
    reviews = {text: await create(client, text) for text in texts}
    async with working(database_url, bento):
        await until(lambda: done(client, reviews["Good."]))
        await until(lambda: done(client, reviews["Awful."]))
        await until(lambda: postponed(sql, 2))
    for text in ("poison", "unreadable"):
        assert (await read(client, reviews[text]))["sentiment"] is None
    await edit(client, reviews["poison"], text="Good again.")
    async with working(database_url, bento):
        await until(lambda: done(client, reviews["poison"]))


async def test_a_slow_bento_gets_smaller_batches_and_a_slow_text_delays_no_other(
    database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    await sql.execute("TRUNCATE review")
    await insert_reviews(sql, 150)
    await sql.execute("UPDATE review SET text = 'slow' WHERE text = 'Good 7.'")
    bento.fast_texts = 20
    async with working(database_url, bento, api_bento_breaker_failures=1000):
        await until(lambda: postponed(sql, 1))
        await until(lambda: remaining(sql, 1))
    assert sorted(bento.read) == sorted(f"Good {n}." for n in range(150) if n != 7), "each once"
    assert await sql.fetchval("SELECT text FROM review WHERE sentiment_label IS NULL") == "slow"


async def remaining(sql: asyncpg.Connection, count: int) -> bool:
    found = await sql.fetchval("SELECT count(*) FROM review WHERE sentiment_label IS NULL")
    return bool(found == count)


async def test_the_lease_of_waiting_reviews_is_renewed(
    database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    await sql.execute("TRUNCATE review")
    await insert_reviews(sql, 8)
    bento.fast_texts = 1
    leases: list[timedelta] = []
    asked = asyncio.Event()

    async def spend_lease() -> None:
        found = "SELECT min(analyze_after) - now() FROM review WHERE sentiment_label IS NULL"
        leases.append(await sql.fetchval(found))
        await sql.execute(
            "UPDATE review SET analyze_after = now() + interval '1 minute' WHERE analyze_after > now()"
        )

        if len(leases) == 15:  # of 8, 4, 2, 1, 1 reviews ...
            asked.set()

    bento.before_answer = spend_lease
    async with working(database_url, bento, worker_lease_seconds=3600, api_bento_breaker_failures=1000):
        await asyncio.wait_for(asked.wait(), 60)
        await until(lambda: all_done(sql))
    assert min(leases) > timedelta(minutes=30)


async def test_reviews_without_a_sentiment_come_before_those_to_analyse_again(
    database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    await sql.execute("TRUNCATE review")
    await insert_reviews(sql, 150)
    async with working(database_url, bento):
        await until(lambda: all_done(sql))
    await sql.execute("UPDATE review SET analyze_after = now() - interval '1 day'")
    await sql.execute(
        "UPDATE review SET text = 'New.', sentiment_label = NULL, sentiment_score = NULL,"
        " sentiment_model_version = NULL, analyze_after = now() WHERE text = 'Good 149.'"
    )
    first, *others = await review_queue.claim(sql, 1, timedelta(minutes=1))
    assert (first.text, others) == ("New.", [])
    claimed = await review_queue.claim(sql, 64, timedelta(minutes=1))
    assert len(claimed) == 64


async def test_expired_rows_are_deleted_while_reviews_keep_coming(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    await insert_expired_quotas(sql, 3 * BATCH + 1)
    async with working(database_url, bento), asyncio.timeout(60):
        while await sql.fetchval("SELECT count(*) FROM rate_limit WHERE spent_until < now()"):
            await create(client)
            await until(lambda: all_done(sql))


async def insert_expired_quotas(sql: asyncpg.Connection, count: int) -> None:
    await sql.execute("TRUNCATE rate_limit")
    await sql.execute(
        "INSERT INTO rate_limit"
        " SELECT 'read:' || n, now() - interval '1 hour' FROM generate_series(1, $1) AS n",
        count,
    )


async def test_a_cleanup_deletes_one_batch(database_url: str, sql: asyncpg.Connection) -> None:
    await insert_expired_quotas(sql, BATCH + 1)
    cleanup = Cleanup()
    await cleanup.run_if_due(sql)
    assert await sql.fetchval("SELECT count(*) FROM rate_limit") == 1
    assert cleanup.seconds_left == 0, "there are more"
    await cleanup.run_if_due(sql)
    assert await sql.fetchval("SELECT count(*) FROM rate_limit") == 0
    assert cleanup.seconds_left > 0


async def postponed(sql: asyncpg.Connection, count: int) -> bool:
    words = "SELECT count(*) FROM review WHERE analyze_attempts = 1 AND analyze_after > now()"
    return bool(await sql.fetchval(words) == count)


async def test_an_expired_lease_makes_a_review_pending_again(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    review = await create(client)
    # A worker claims it and crashes.
    assert len(await review_queue.claim(sql, 10, timedelta(minutes=1))) == 1
    assert await review_queue.claim(sql, 10, timedelta(minutes=1)) == []
    await sql.execute("UPDATE review SET analyze_after = now() + interval '0.3 s'")
    async with working(database_url, bento, worker_poll_seconds=0.1):
        await until(lambda: done(client, review))


async def test_a_late_worker_does_not_queue_a_finished_review_again(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    await create(client)
    (late,) = await review_queue.claim(sql, 1, timedelta(0))
    (claimed,) = await review_queue.claim(sql, 1, timedelta(minutes=1))
    sentiment = Sentiment(label="positive", score=0.9, model_version="1")
    await review_queue.store(sql, [(claimed, sentiment)])
    await review_queue.postpone(sql, [(late, timedelta(hours=1))])
    assert await sql.fetchval("SELECT count(*) FROM review WHERE analyze_after IS NULL") == 1


async def test_a_lost_connection_is_reopened(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    async with working(database_url, bento):
        await until(lambda: terminated(sql))
        await until(lambda: listening(sql))
        review = await create(client)
        await until(lambda: done(client, review), seconds=30)


WORKERS = "FROM pg_stat_activity WHERE application_name = 'movie-review-worker'"


async def terminated(sql: asyncpg.Connection) -> bool:
    return bool(await sql.fetch(f"SELECT pg_terminate_backend(pid) {WORKERS}"))


async def listening(sql: asyncpg.Connection) -> bool:
    return bool(await sql.fetch(f"SELECT 1 {WORKERS} AND state = 'idle'"))


async def test_rescore_analyses_old_reviews_with_the_new_model(
    client: httpx.AsyncClient, database_url: str, bento: Bento, sql: asyncpg.Connection
) -> None:
    reviews = [await create(client, f"Good {number}.") for number in range(5)]
    async with working(database_url, bento):
        await until(lambda: all_done(sql))
        etag = (await client.get(f"/api/reviews/tt1/{reviews[0]['id']}")).headers["ETag"]
        bento.version = "2"
        assert await review_queue.rescore(sql, "2", page_size=2) == 5
        assert await review_queue.rescore(sql, "2") == 0
        assert await all_done(sql), "the old sentiment is kept until the new one is stored"
        await until(lambda: all_of_version(sql, "2"))
    assert await review_queue.rescore(sql, "2") == 0
    fresh = await client.get(f"/api/reviews/tt1/{reviews[0]['id']}")
    assert fresh.headers["ETag"] != etag, "a cached copy is stale"
    body = {"author": "Ada", "text": "Bad."}
    replaced = await client.put(f"/api/reviews/{reviews[0]['id']}", json=body, headers={"If-Match": etag})
    assert replaced.status_code == 200, "a new sentiment is not an edit"
    again = await client.put(f"/api/reviews/{reviews[0]['id']}", json=body, headers={"If-Match": etag})
    assert again.status_code == 412


async def all_of_version(sql: asyncpg.Connection, version: str) -> bool:
    words = "SELECT bool_and(sentiment_model_version = $1) FROM review"
    return bool(await sql.fetchval(words, version))


def test_retry_delays_grow_up_to_a_limit() -> None:
    for attempts, longest in ((0, 5), (1, 10), (5, 160), (99, 3600)):
        found = retry_delay(attempts).total_seconds()
        assert longest / 2 <= found <= longest
    assert retry_delay(10_000) <= LONGEST_DELAY


async def test_connect_bypasses_pgbouncer(database_url: str) -> None:
    pgbouncer = "postgresql+asyncpg://u@127.0.0.1:1/d"  # nothing listens there
    config = Settings(
        _env_file=None,
        database_url=pgbouncer,
        database_direct_url=database_url,
        api_database_pgbouncer=True,
    )
    connection = await connect(config, "test")
    try:
        await connection.add_listener(review_queue.CHANNEL, lambda *_: None)
    finally:
        await connection.close()


async def test_rescore_without_a_bento_says_so(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.WARNING)  # restores what main sets
    found = await run_main(
        main, "--rescore", database_url=database_url, BENTO_URL="http://127.0.0.1:9", LOG_FORMAT="text"
    )
    assert found.returncode == 1
    assert "BENTO_URL" in found.output


def test_the_process_stops_on_sigterm(database_url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "api.worker"],
        cwd=ROOT,
        env={**os.environ, **database_urls(database_url)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "waiting for reviews" in process.stderr.readline()
        process.terminate()
        assert process.wait(timeout=60) == 0
