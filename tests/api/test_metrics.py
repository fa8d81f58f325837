"""/metrics of the API and of the worker."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api import worker
from api.settings import Settings
from tests.api.conftest import Serve
from tests.api.requests import REVIEW, create
from tests.api.waiting import until

ANALYSIS = {"label": "positive", "score": 0.9, "model_version": "7", "truncated": False}
REQUESTS = "api_request_duration_seconds_count"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def value(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    """Return the value of a series, or 0 if it does not exist yet."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return read(answer.text).get((name, frozenset(labels.items())), 0.0)


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.metrics.CACHE_SECONDS", 0.0)


async def test_requests_are_counted_by_route_template_and_status_class(client: httpx.AsyncClient) -> None:
    listed = {"method": "GET", "route": "/api/reviews/{movie_id}", "status": "2xx"}
    one = {"method": "GET", "route": "/api/reviews/{movie_id}/{review_id}", "status": "4xx"}
    unknown = {"method": "any", "route": "none", "status": "4xx"}
    before = [await value(client, REQUESTS, **labels) for labels in (listed, one, unknown)]
    for movie in ("tt1", "tt2", "tt3"):
        await client.get(f"/api/reviews/{movie}")
    await client.get("/api/reviews/tt1/018f0000-0000-7000-8000-000000000000")
    await client.get("/tt1")
    await client.request("NONSENSE", "/tt2")
    after = [await value(client, REQUESTS, **labels) for labels in (listed, one, unknown)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [3, 1, 2]


async def test_one_second_is_a_bucket_boundary(client: httpx.AsyncClient) -> None:
    await client.get("/api/movies")
    labels = {"method": "GET", "route": "/api/movies", "status": "2xx"}
    series = read((await client.get("/metrics")).text)
    assert ("api_request_duration_seconds_bucket", frozenset({"le": "1.0", **labels}.items())) in series


async def test_metrics_require_the_token_that_is_set(serve: Serve) -> None:
    async with serve(metrics_token="só") as client:  # without it the client sends its API key
        refused = await client.get("/metrics")
        assert refused.status_code == 401
        assert refused.json()["detail"].startswith("/metrics needs METRICS_TOKEN")
        token = [(b"Authorization", "Bearer só".encode())]
        assert "api_request_duration_seconds" in (await client.get("/metrics", headers=token)).text


async def test_an_unhandled_exception_counts_as_5xx(serve: Serve) -> None:
    def bento(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    async with serve(bento) as client:
        labels = {"method": "POST", "route": "/api/analyze", "status": "5xx"}
        before = await value(client, REQUESTS, **labels)
        assert (await client.post("/api/analyze", json={"text": "Fine."})).status_code == 500
        assert await value(client, REQUESTS, **labels) == before + 1
        assert await value(client, "api_requests_in_progress") == 1, "only the request for /metrics itself"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (lambda: httpx.Response(200, json=[ANALYSIS]), "ok"),
        (lambda: httpx.Response(429), "unavailable"),
        (lambda: httpx.Response(504), "slow"),
        (lambda: httpx.Response(200, text="what?"), "nonsense"),
    ],
)
async def test_requests_to_the_bento_are_timed_by_outcome(
    serve: Serve, answer: Callable[[], httpx.Response], outcome: str
) -> None:
    async with serve(lambda _: answer()) as client:
        before = await value(client, "bento_request_duration_seconds_count", outcome=outcome)
        await client.post("/api/analyze", json={"text": "Fine."})
        assert await value(client, "bento_request_duration_seconds_count", outcome=outcome) == before + 1
        assert await value(client, "bento_texts_waiting") == 0


async def test_an_unreachable_bento_opens_the_breaker(serve: Serve) -> None:
    async with serve(api_bento_breaker_failures=1) as client:
        assert await value(client, "bento_breaker_open") == 0
        await client.post("/api/analyze", json={"text": "Fine."})
        assert await value(client, "bento_breaker_open") == 1


async def test_the_pool_reports_connections_in_use_and_waiting_callers(
    serve: Serve, sql: asyncpg.Connection
) -> None:
    async with serve(api_database_pool_size=1, api_limit_read="1000/second") as client:
        assert await value(client, "database_pool_size") == 1
        async with sql.transaction():
            await sql.execute("LOCK TABLE rate_limit")
            asked = [asyncio.create_task(client.get("/api/movies")) for _ in range(3)]
            found: Series = {}

            async def two_are_waiting() -> bool:
                # The only connection is in use, so /metrics cannot query the database.
                found.update(read((await client.get("/metrics")).text))
                return found["database_pool_waiting", frozenset()] == 2

            await until(two_are_waiting)
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        series = {name: number for (name, _), number in found.items()}
        assert series["database_pool_checked_out"] == 1
        assert series["database_pool_waiting"] == 2
        assert series["database_up"] == 0
        assert await value(client, "database_pool_waiting") == 0
        assert await value(client, "database_up") == 1


@pytest.mark.usefixtures("nothing_spent")
async def test_rate_limit_refusals_and_idempotent_repeats_are_counted(
    serve: Serve, client: httpx.AsyncClient
) -> None:
    repeats = await value(client, "api_first_answers_total")
    for _ in range(2):
        await client.post("/api/reviews", json=REVIEW, headers={"Idempotency-Key": "metrics"})
    assert await value(client, "api_first_answers_total") == repeats + 1
    async with serve(api_limit_read="1/day") as limited:
        refusals = await value(limited, "api_limit_refusals_total", kind="read")
        answers = [await limited.get("/api/movies") for _ in range(3)]
        refused = sum(answer.status_code == 429 for answer in answers)
        assert refused >= 2
        assert await value(limited, "api_limit_refusals_total", kind="read") == refusals + refused


async def test_pending_sentiments_and_the_age_of_the_oldest(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    assert await value(client, "sentiments_pending") == 0
    assert await value(client, "sentiments_oldest_pending_seconds") == 0
    late, failed, rescored, done = [await create(client) for _ in range(4)]
    # The age counts from updated_at, so a lease does not reset it.
    await sql.execute(
        "UPDATE review SET updated_at = now() - interval '90 s', analyze_after = now() WHERE id = $1",
        late["id"],
    )
    await sql.execute(
        "UPDATE review SET updated_at = now() - interval '1 day', analyze_attempts = 3 WHERE id = $1",
        failed["id"],
    )
    await sql.execute(
        "UPDATE review SET updated_at = now() - interval '1 day', sentiment_label = 'positive',"
        " sentiment_score = 1, sentiment_model_version = '1' WHERE id = any($1)",
        [rescored["id"], done["id"]],
    )
    await sql.execute("UPDATE review SET analyze_after = NULL WHERE id = $1", done["id"])
    assert await value(client, "sentiments_pending") == 2, "not the one to analyse again"
    assert await value(client, "sentiments_unreadable") == 1
    assert 90 <= await value(client, "sentiments_oldest_pending_seconds") < 100


async def test_the_other_metrics_are_served_without_the_database(serve: Serve) -> None:
    nowhere = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
    async with serve(database_url=nowhere) as client:
        found = read((await client.get("/metrics")).text)
    assert found["database_up", frozenset()] == 0
    assert sum(value for (name, _), value in found.items() if name == "database_refusals_total") > 0
    pending = found["sentiments_pending", frozenset()]
    assert pending != pending, "NaN, not the last known value"


async def test_the_backlog_query_is_cached(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await value(client, "sentiments_pending") == 0
    monkeypatch.setattr("api.routes.metrics.CACHE_SECONDS", 3600.0)
    await create(client)
    assert await value(client, "sentiments_pending") == 0


async def test_a_worker_metrics_port_in_use_is_named(database_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(_env_file=None, database_url=database_url, worker_metrics_port=port)
        with pytest.raises(SystemExit, match=f"^api.worker: .*WORKER_METRICS_PORT={port} "):
            await worker.work(settings)


def scrape(url: str, process: subprocess.Popen[bytes]) -> str:
    """GET `url` as soon as the process listens there."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url, timeout=60, trust_env=False).text
        except httpx.ConnectError:
            assert process.poll() is None, "the process has ended"
            assert time.monotonic() < deadline
            time.sleep(0.1)
