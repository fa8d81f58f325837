from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from api.main import create_app
from api.settings import Settings
from tests.postgres import plain

Bento = Callable[[httpx.Request], httpx.Response]
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


def no_bento(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no Bento here", request=request)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app, started and stopped as a server would. An unhandled error is an answer too."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api.test") as client,
    ):
        yield client


@pytest.fixture
def serve(database_url: str) -> Serve:
    """`async with serve(bento, setting=value) as client`: an app of its own."""

    def serve(bento: Bento = no_bento, **changed: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        settings = Settings(_env_file=None, **{"database_url": database_url, **changed})
        return running(create_app(settings, httpx.MockTransport(bento)))

    return serve


@pytest.fixture(scope="session")
def app(database_url: str) -> FastAPI:
    settings = Settings(_env_file=None, database_url=database_url)
    return create_app(settings, httpx.MockTransport(no_bento))


@pytest.fixture(scope="session")
async def shared_client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as client:
        yield client


@pytest.fixture(scope="session")
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection past the API, to see what was kept and to put in what the API cannot."""
    connection = await asyncpg.connect(plain(database_url))
    yield connection
    await connection.close()


@pytest.fixture
async def client(shared_client: httpx.AsyncClient, sql: asyncpg.Connection) -> httpx.AsyncClient:
    """The API over an empty table."""
    await sql.execute("TRUNCATE review")
    return shared_client
