"""A PostgreSQL database, accessed with the client programs of the server's own version."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deploy.backup.database import INSPECTED_TABLES, BackupError, Contents

# \gexec executes each row of the result as a statement.
COUNT_ROWS = rb"""
SELECT format('SELECT %L, count(*) FROM public.%I', tablename, tablename)
FROM pg_tables WHERE schemaname = 'public' \gexec
"""
RECREATE_SCHEMA = (
    "SET client_min_messages = warning; DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public"
)


@dataclass(frozen=True)
class Postgres:
    """`command` builds the command line of a PostgreSQL program, including the connection options."""

    file: str
    command: Callable[[str], list[str]]
    environment: dict[str, str] = field(default_factory=dict)

    def dump(self, path: Path) -> None:
        with path.open("wb") as out:
            self._run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", stdout=out)

    def read(self, path: Path) -> Contents:
        """Convert the dump to SQL with pg_restore, without a server, and count the rows of COPY blocks."""
        # pg_restore accepts --file or --dbname, not both.
        words = [word for word in self.command("pg_restore") if not word.startswith("--dbname")]
        with (
            path.open("rb") as dump,
            subprocess.Popen(
                [*words, "--data-only", "--file=-"],
                stdin=dump,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | self.environment,
            ) as process,
        ):
            assert process.stdout  # noqa: S101
            assert process.stderr  # noqa: S101
            contents = parse_sql(line.decode().rstrip("\n") for line in process.stdout)
            errors = process.stderr.read().decode()
        if process.returncode:
            raise BackupError(f"{path} cannot be read: {last_line(errors)}")
        return contents

    def counts(self) -> dict[str, int]:
        with tempfile.TemporaryFile() as script:  # --command does not accept \\gexec
            script.write(COUNT_ROWS)
            script.seek(0)
            answer = self._run("psql", *QUIET, stdin=script).decode()
        return {name: int(count) for name, count in (line.split("\t") for line in answer.splitlines())}

    def restore(self, path: Path) -> None:
        self._run("psql", *QUIET, f"--command={RECREATE_SCHEMA}")
        with path.open("rb") as dump:
            self._run("pg_restore", "--single-transaction", "--no-owner", "--no-privileges", stdin=dump)
        self._run("psql", *QUIET, "--command=ANALYZE")

    def _run(
        self, program: str, *words: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> bytes:
        done = subprocess.run(
            [*self.command(program), *words],
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | self.environment,
        )
        if done.returncode:
            reason = last_line(done.stderr.decode())
            raise BackupError(f"{program} failed with exit code {done.returncode}: {reason}")
        return done.stdout or b""


QUIET = (
    "--no-psqlrc",
    "--quiet",
    "--no-align",
    "--tuples-only",
    "--field-separator=\t",
    "--set=ON_ERROR_STOP=1",
)


def parse_sql(lines: Iterable[str]) -> Contents:
    """Count the rows from `COPY public.review (id, text) FROM stdin;` to `\\.` for each table."""
    contents = Contents()
    lines = iter(lines)
    for line in lines:
        if not line.startswith("COPY "):
            continue
        table, columns = line.removeprefix("COPY ").removesuffix(") FROM stdin;").split(" (", 1)
        name = table.rpartition(".")[2].strip('"')
        rows = copy_rows(lines)
        if name in INSPECTED_TABLES:
            names = columns.split(", ")
            contents.rows[name] = [dict(zip(names, row.split("\t"), strict=True)) for row in rows]
            contents.counts[name] = len(contents.rows[name])
        else:
            contents.counts[name] = sum(1 for _ in rows)
    return contents


def copy_rows(lines: Iterator[str]) -> Iterator[str]:
    """Yield the rows of a COPY block. Raises BackupError if the dump is truncated."""
    for line in lines:
        if line == "\\.":
            return
        yield line
    raise BackupError("the dump is truncated inside a table")


def last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "no error message")
