"""The API behind a real pgbouncer in transaction mode, with fewer server connections than client ones."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from benchmarks.processes import free_port
from tests.api import requests
from tests.api.conftest import Serve
from tests.api.requests import MOVIE, UPDATE, problem
from tests.postgres import connected, plain

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
POOL_SIZE = 2
INI = """
[databases]
* = host={host} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
"""

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="Debian's pgbouncer is not installed")


@pytest.fixture(scope="session")
def pgbouncer(postgres_socket: Path) -> Iterator[int]:
    """The port of a pgbouncer in front of PostgreSQL, run by the same user, since neither may be root."""
    owner = postgres_socket.stat()
    port = free_port()
    # Not in pytest's temporary directory, which only root can read.
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        configuration, log = Path(folder, "pgbouncer.ini"), Path(folder, "log")
        configuration.write_text(INI.format(host=postgres_socket, port=port, size=POOL_SIZE))
        with log.open("w") as output, run(configuration, owner, output.fileno()) as process:
            wait_until_listening(port, process, log)
            yield port
            process.terminate()


def run(configuration: Path, owner: os.stat_result, output: int) -> subprocess.Popen[bytes]:
    words = [str(PGBOUNCER), str(configuration)]
    if os.geteuid() != 0:
        return subprocess.Popen(words, stdout=output, stderr=output)
    return subprocess.Popen(
        words, stdout=output, stderr=output, user=owner.st_uid, group=owner.st_gid, extra_groups=[]
    )


def wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"pgbouncer did not start: {log.read_text()}")


@pytest.fixture
def through(pgbouncer: int, database_url: str) -> str:
    """DATABASE_URL through pgbouncer."""
    name = plain(database_url).partition("@/")[2].partition("?")[0]
    return f"postgresql+asyncpg://postgres@127.0.0.1:{pgbouncer}/{name}"


@pytest.fixture
async def api(
    serve: Serve, client: httpx.AsyncClient, database_url: str, through: str
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API behind pgbouncer; `client` has emptied the table."""
    async with serve(
        database_url=through,
        database_direct_url=database_url,
        api_database_pgbouncer=True,
        api_database_lock_timeout_seconds=2,
    ) as behind:
        yield behind


async def use_reviews(api: httpx.AsyncClient, number: int) -> None:
    """Create, read, edit and list a review; every third call also deletes it."""
    movie_id = f"tt{number % 5}"
    review = await requests.create(api, movie_id=movie_id)
    path = f"/api/reviews/{review['id']}"
    seen = await api.get(f"/api/reviews/{movie_id}/{review['id']}")
    assert seen.json() == review
    edited = await api.put(path, json=UPDATE, headers={"If-Match": seen.headers["ETag"]})
    assert edited.status_code == 200, edited.text
    listed = await api.get(f"/api/reviews/{movie_id}", params={"limit": 100})
    assert edited.json() in listed.json()["items"]
    assert (await api.get("/api/movies")).status_code == 200
    if number % 3 == 0:
        assert (await api.delete(path)).status_code == 204


async def test_many_clients_share_few_connections(api: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await asyncio.gather(*(use_reviews(api, number) for number in range(30)))
    assert await sql.fetchval("SELECT count(*) FROM review") == 20
    assert await sql.fetchval("SELECT sum(reviews)::int FROM movie") == 20


async def test_no_prepared_statement_remains(api: httpx.AsyncClient, through: str) -> None:
    """Otherwise they would accumulate on connections that pgbouncer never closes."""
    for _ in range(5):
        await use_reviews(api, 1)
    async with connected(through, statement_cache_size=0) as connection, connection.transaction():
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0


async def test_timeouts_apply_per_transaction(
    api: httpx.AsyncClient, database_url: str, through: str
) -> None:
    review = await requests.create(api)
    async with connected(database_url) as other, other.transaction():
        await other.execute("SELECT FROM review FOR UPDATE")
        began = time.monotonic()
        problem(await api.put(f"/api/reviews/{review['id']}", json=UPDATE), 503)
        assert time.monotonic() - began < 30, "earlier than the statement timeout"
    assert (await api.get(f"/api/reviews/{MOVIE}")).json()["items"] == [review]
    async with connected(through, statement_cache_size=0) as connection, connection.transaction():
        for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            assert await connection.fetchval("SELECT current_setting($1)", name) == "0", (
                "set for one transaction only"
            )
