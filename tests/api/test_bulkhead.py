"""A Bento that accepts requests and never answers does not block the rest of the API."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from sqlalchemy.pool import QueuePool

from api.main import create_app
from api.settings import Settings
from tests.api.conftest import UNLIMITED, bearer, running
from tests.api.requests import UPDATE, create, problem

CALLERS, MOST_WAITING, SECONDS = 200, 64, 10.0


@dataclass
class Hanging:
    """A server that reads and never responds."""

    url: str = ""
    connections: list[asyncio.StreamWriter] = field(default_factory=list)


@asynccontextmanager
async def hanging() -> AsyncIterator[Hanging]:
    found = Hanging()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections.append(writer)
        await reader.read()  # until the client closes the connection
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.url = "http://{}:{}".format(*listening.sockets[0].getsockname())
    async with listening:
        yield found


def small_settings(database_url: str, bento: Hanging) -> Settings:
    """Settings with a single database connection: if analysing held it, all else would fail."""
    return Settings(
        _env_file=None,
        database_url=database_url,
        bento_url=bento.url,
        api_bento_connect_timeout_seconds=SECONDS / 2,  # enough for a busy machine
        api_bento_timeout_seconds=SECONDS,
        api_bento_max_waiting=MOST_WAITING,
        api_bento_breaker_failures=1,
        api_database_pool_size=1,
        api_database_pool_timeout_seconds=1,
        **UNLIMITED,
    )


async def use_reviews(api: httpx.AsyncClient) -> None:
    """Create, list, read, replace and delete a review."""
    review = await create(api)
    place = f"/api/reviews/{review['movie_id']}/{review['id']}"
    answers = [
        await api.get(f"/api/reviews/{review['movie_id']}"),
        await api.get(place),
        await api.put(f"/api/reviews/{review['id']}", json=UPDATE),
        await api.delete(f"/api/reviews/{review['id']}"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 204]


async def test_a_hanging_bento_blocks_no_reviews_and_every_call_times_out(
    database_url: str, client: httpx.AsyncClient, api_key: str
) -> None:
    async with hanging() as bento:
        settings = small_settings(database_url, bento)
        app = create_app(settings)
        pool = app.state.engine.pool
        assert isinstance(pool, QueuePool)
        async with running(app) as api:
            began = time.monotonic()
            callers = [
                asyncio.create_task(api.post("/api/analyze", json={"text": f"Good {number}."}))
                for number in range(CALLERS)
            ]
            while sum(caller.done() for caller in callers) < CALLERS - MOST_WAITING:
                assert time.monotonic() - began < SECONDS
                await asyncio.sleep(0.05)
            refused = [caller.result() for caller in callers if caller.done()]
            assert len(refused) == CALLERS - MOST_WAITING
            for answer in refused:
                problem(answer, 503)
                assert int(answer.headers["Retry-After"]) >= 1
            assert 1 <= len(bento.connections) <= settings.api_bento_max_requests
            assert pool.checkedout() == 0
            api.headers.update(bearer(api_key))
            await use_reviews(api)
            assert (await api.get("/readyz")).json() == {
                "status": "ready",
                "database": "ok",
                "bento": "unavailable",
            }
            assert not all(caller.done() for caller in callers), "all of that happened while they waited"
            answers = await asyncio.gather(*callers)
            assert {answer.status_code for answer in answers} <= {503, 504}
            assert time.monotonic() - began < 2 * SECONDS
            # The circuit is open, so the next text is not sent.
            began = time.monotonic()
            late = await api.post("/api/analyze", json={"text": "Good."})
            problem(late, 503)
            assert int(late.headers["Retry-After"]) >= 1
            assert time.monotonic() - began < SECONDS / 2
            await use_reviews(api)
