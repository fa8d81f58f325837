import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from api.credentials import ApiKey, Scope, new_key
from api.main import create_app
from api.settings import Settings
from tests.postgres import plain

Bento = Callable[[httpx.Request], httpx.Response]
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
NewKey = Callable[..., Awaitable[str]]
UNLIMITED: dict[str, Any] = {"api_limit_read": "off", "api_limit_analyze": "off", "api_limit_write": "off"}
# What waits for nothing but a busy machine shall not fail.
PATIENT: dict[str, Any] = {
    f"api_database_{what}_timeout_seconds": 60 for what in ("pool", "connect", "statement", "lock")
}


def no_bento(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no Bento here", request=request)


@asynccontextmanager
async def running(app: FastAPI, key: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app with an API key; the app is started and stopped as by a server.

    An unhandled error is an answer too.
    """
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://api.test", headers=bearer(key) if key else None
        ) as client,
    ):
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class Clock:
    """The clock of every circuit breaker, which `advance` moves forward."""

    def __init__(self) -> None:
        self._offset = 0.0

    def advance(self, seconds: float) -> None:
        self._offset += seconds

    def __call__(self) -> float:
        return time.monotonic() + self._offset


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("circuitbreaker.monotonic", clock)
    return clock


@pytest.fixture(scope="session")
def new_api_key(sql: asyncpg.Connection) -> NewKey:
    """`await new_api_key("write")`: a key that the database knows."""

    async def new(*scopes: Scope) -> str:
        row = ApiKey.from_key(key := new_key(), "test", list(scopes))
        await sql.execute(
            "INSERT INTO api_key (id, name, sha256, scopes) VALUES ($1, $2, $3, $4)",
            row.id,
            row.name,
            row.sha256,
            row.scopes,
        )
        return key

    return new


@pytest.fixture(scope="session")
async def api_key(new_api_key: NewKey) -> str:
    return await new_api_key("write")


@pytest.fixture
def serve(database_url: str, api_key: str) -> Serve:
    """`async with serve(bento, setting=value) as client`: an app of its own."""

    def serve(bento: Bento = no_bento, **changed: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        settings = Settings(
            _env_file=None, **{"database_url": database_url, **UNLIMITED, **PATIENT, **changed}
        )
        return running(create_app(settings, httpx.MockTransport(bento)), api_key)

    return serve


@pytest.fixture(scope="session")
def app(database_url: str) -> FastAPI:
    settings = Settings(_env_file=None, database_url=database_url, **UNLIMITED, **PATIENT)
    return create_app(settings, httpx.MockTransport(no_bento))


@pytest.fixture(scope="session")
async def shared_client(app: FastAPI, api_key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app, api_key) as client:
        yield client


@pytest.fixture(scope="session")
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection past the API, to see what was kept and to put in what the API cannot."""
    connection = await asyncpg.connect(plain(database_url))
    yield connection
    await connection.close()


@pytest.fixture
async def nothing_spent(sql: asyncpg.Connection) -> AsyncIterator[None]:
    """No caller has used up any of its limits, before the test and after it."""
    await sql.execute("TRUNCATE rate_limit")
    yield
    await sql.execute("TRUNCATE rate_limit")


@pytest.fixture
async def client(shared_client: httpx.AsyncClient, sql: asyncpg.Connection) -> httpx.AsyncClient:
    """The API over an empty table."""
    await sql.execute("TRUNCATE review")
    return shared_client
