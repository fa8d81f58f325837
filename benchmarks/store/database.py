"""Starts PostgreSQL like the local stack, and creates databases of generated reviews."""

import contextlib
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

from benchmarks.command import BenchmarkError, print_progress
from benchmarks.processes import HOST, ROOT, ProcessTree, clean_environment, free_port, run_to_end
from benchmarks.store.generated_reviews import COLUMNS, generate
from benchmarks.store.queries import KEY
from deploy.local.postgres import BIN

READY_SECONDS = 60

BYTES_PER_ROW = 1700
"""Disk space at most: the row, its indexes, and the write-ahead log during the load."""

# Only for the load, which is repeated after a crash. The measurements run with PostgreSQL's defaults.
LOAD_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "'4GB'",
}

CREATE_KEY = ("api.keys", "create", "benchmark", "--scopes", "admin", "--stdin")


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL with its data in `folder`."""

    folder: Path
    port: int
    password: str

    def url(self, database: str, driver: str = "postgresql") -> str:
        return f"{driver}://postgres:{self.password}@{HOST}:{self.port}/{database}"

    def api_url(self, database: str) -> str:
        """Return DATABASE_URL for the API and Alembic."""
        return self.url(database, "postgresql+asyncpg")


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """Run PostgreSQL with the settings of the local stack, on a free port."""
    server = Server(folder, free_port(), secrets.token_hex(16))
    environment = clean_environment() | {
        "PYTHONPATH": str(ROOT),
        "VAR_DIR": str(folder),
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_PASSWORD": server.password,
    }
    command = [sys.executable, "-m", "deploy.local.launch", "postgres"]
    with ProcessTree() as processes:
        # Its folder has no .env.
        processes.start(command, environment, folder / "postgres.log", folder)
        try:
            processes.wait_until(lambda: is_ready(server), READY_SECONDS)
            yield server
        finally:
            # Fast shutdown: SIGTERM would wait for the clients.
            processes.started[0].send_signal(signal.SIGINT)


def is_ready(server: Server) -> bool:
    words = [str(BIN / "pg_isready"), "--quiet", "-h", HOST, "-p", str(server.port)]
    return subprocess.run(words).returncode == 0


async def create_database(server: Server, rows: int) -> str:
    """Create a database with this many reviews, unless it exists. Returns its name. Raises BenchmarkError."""
    name, temporary = f"reviews_{rows}", f"loading_{rows}"
    admin = await asyncpg.connect(server.url("postgres"))
    try:
        if await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            print_progress(f"{name} exists")
            return name
        check_disk(server.folder, rows)
        await admin.execute(f"DROP DATABASE IF EXISTS {temporary}")
        await admin.execute(f"CREATE DATABASE {temporary}")
        await configure(
            admin, [f"ALTER SYSTEM SET {option} = {value}" for option, value in LOAD_SETTINGS.items()]
        )
        try:
            run_module(server.api_url(temporary), "alembic", "upgrade", "head")
            run_module(server.api_url(temporary), *CREATE_KEY, stdin=KEY)
            await load(server.url(temporary), rows)
        finally:
            await configure(admin, ["ALTER SYSTEM RESET ALL"])
        await admin.execute("CHECKPOINT")
        await admin.execute(f"ALTER DATABASE {temporary} RENAME TO {name}")
    finally:
        await admin.close()
    return name


def check_disk(folder: Path, rows: int) -> None:
    """Raise BenchmarkError if the folder has too little space."""
    needed, free = rows * BYTES_PER_ROW + 2**29, shutil.disk_usage(folder).free
    if free < needed:
        raise BenchmarkError(
            f"{rows:,} rows need {needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB:"
            " choose another --folder or fewer --rows"
        )


async def configure(admin: asyncpg.Connection, statements: list[str]) -> None:
    for statement in statements:
        await admin.execute(statement)
    await admin.execute("SELECT pg_reload_conf()")


def run_module(url: str, *words: str, stdin: str = "") -> None:
    """Run `python -m WORDS` with DATABASE_URL. Raises BenchmarkError."""
    run_to_end([sys.executable, "-m", *words], clean_environment() | {"DATABASE_URL": url}, stdin)


async def load(url: str, rows: int) -> None:
    """Load reviews with COPY; indexes and triggers exist, as in an import into a live service."""
    connection = await asyncpg.connect(url)
    try:
        started, loaded, reported = time.monotonic(), 0, 0.0
        for chunk in generate(rows):
            await connection.copy_records_to_table("review", records=chunk, columns=COLUMNS)
            loaded += len(chunk)
            now = time.monotonic()
            if now - reported > 10 or loaded == rows:
                reported = now
                print_progress(f"{loaded:,} of {rows:,} rows, {loaded / (now - started):,.0f} per second")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
