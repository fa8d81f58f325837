"""PostgreSQL as the local stack starts it, with databases of so many reviews each."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.place import ROOT, inherited
from benchmarks.serving.processes import HOST, Family, free_port, new_mark
from benchmarks.serving.run import say, tail
from benchmarks.store.questions import KEY
from benchmarks.store.rows import COLUMNS, Source
from benchmarks.store.servers import wait
from deploy.local.postgres import BIN

BYTES_A_ROW = 1700
"""Of disk, at the most: the row, its indexes, the write-ahead log while it is loaded."""

# A crash while loading loses nothing but the load; the measurements run with PostgreSQL's defaults.
HASTE = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "'4GB'",
}

CREATE_KEY = ("api.keys", "create", "benchmark", "--scopes", "admin", "--stdin")


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL; its data lies in `folder`."""

    folder: Path
    port: int
    password: str

    def url(self, database: str, driver: str = "postgresql") -> str:
        return f"{driver}://postgres:{self.password}@{HOST}:{self.port}/{database}"

    def api_url(self, database: str) -> str:
        """DATABASE_URL of the API and of Alembic."""
        return self.url(database, "postgresql+asyncpg")


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """The server with the stack's own settings, on a port of its own."""
    server = Server(folder, free_port(), secrets.token_hex(16))
    environment = inherited(os.environ) | {
        "PYTHONPATH": str(ROOT),
        "VAR_DIR": str(folder),
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_PASSWORD": server.password,
    }
    command = [sys.executable, "-m", "deploy.local.launch", "postgres"]
    log = folder / "postgres.log"
    with Family(new_mark()) as family:
        # From its own folder, where no .env is.
        family.start(command, environment, log, folder)
        try:
            wait(lambda: is_ready(server), family, log)
            yield server
        finally:
            family.roots[0].send_signal(signal.SIGINT)  # SIGTERM would wait for clients


def is_ready(server: Server) -> bool:
    words = [str(BIN / "pg_isready"), "--quiet", "-h", HOST, "-p", str(server.port)]
    return subprocess.run(words).returncode == 0


async def ensure(server: Server, rows: int) -> str:
    """The name of a database with so many reviews, which is made if there is none. Raises BenchmarkError."""
    name, aside = f"reviews_{rows}", f"loading_{rows}"
    admin = await asyncpg.connect(server.url("postgres"))
    try:
        if await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            say(f"{name} is there already")
            return name
        check_disk(server.folder, rows)
        await admin.execute(f"DROP DATABASE IF EXISTS {aside}")
        await admin.execute(f"CREATE DATABASE {aside}")
        await configure(admin, [f"ALTER SYSTEM SET {option} = {value}" for option, value in HASTE.items()])
        try:
            run(server.api_url(aside), "alembic", "upgrade", "head")
            run(server.api_url(aside), *CREATE_KEY, given=KEY)
            await fill(server.url(aside), rows)
        finally:
            await configure(admin, ["ALTER SYSTEM RESET ALL"])
        await admin.execute("CHECKPOINT")
        await admin.execute(f"ALTER DATABASE {aside} RENAME TO {name}")
    finally:
        await admin.close()
    return name


def check_disk(folder: Path, rows: int) -> None:
    needed, free = rows * BYTES_A_ROW + 2**29, shutil.disk_usage(folder).free
    if free < needed:
        raise BenchmarkError(
            f"{rows:,} rows need {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB:"
            " name another folder with --folder, or fewer --rows"
        )


async def configure(admin: asyncpg.Connection, statements: list[str]) -> None:
    for statement in statements:
        await admin.execute(statement)
    await admin.execute("SELECT pg_reload_conf()")


def run(url: str, *words: str, given: str = "") -> None:
    """`python -m ...` with this database."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=inherited(os.environ) | {"DATABASE_URL": url},
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise BenchmarkError(f"{words[0]} failed:\n{tail(done.stdout)}")


async def fill(url: str, rows: int) -> None:
    """COPY, with every index, check and trigger in place, as an import into a running service would."""
    connection = await asyncpg.connect(url)
    try:
        began, loaded, said = time.monotonic(), 0, 0.0
        for chunk in Source(rows).chunks():
            await connection.copy_records_to_table("review", records=chunk, columns=COLUMNS)
            loaded += len(chunk)
            now = time.monotonic()
            if now - said > 10 or loaded == rows:
                said = now
                say(f"{loaded:,} of {rows:,} rows, {loaded / (now - began):,.0f} a second")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
