"""The stack of docker-compose.yml. Requires only Python and Compose, v2 or 1.29."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import IO

from deploy.backup.database import BackupError
from deploy.backup.postgres import Postgres, last_line
from deploy.backup.stack import tar

FOLDER = "/var/lib/mlflow"
START_SECONDS = 120  # for PostgreSQL


class Compose:
    name = "compose"

    def __init__(self) -> None:
        self._words = command()
        self.reviews = self._database("reviews")
        self.registry = self._database("mlflow")

    def start_database(self) -> None:
        # --no-recreate: a change in .env must not replace the container and drop its connections.
        self._run("up", "-d", "--no-recreate", "postgres")
        deadline = time.monotonic() + START_SECONDS
        ready = [*self._words, "exec", "-T", "postgres", "pg_isready", "--quiet", "--host=127.0.0.1"]
        while subprocess.run(ready, stdin=subprocess.DEVNULL, capture_output=True).returncode:
            if time.monotonic() > deadline:
                logs = f"{' '.join(self._words)} logs postgres"
                raise BackupError(f"PostgreSQL is not ready after {START_SECONDS} s: see `{logs}`")
            time.sleep(0.5)

    def stop_services(self) -> None:
        self._run("stop", "api", "worker", "bento", "mlflow")

    def dump_artifacts(self, path: Path) -> None:
        with path.open("wb") as out:
            self._mlflow(*tar(FOLDER), stdout=out)

    def has_artifacts(self) -> bool:
        return bool(self._mlflow("ls", "-A", FOLDER).strip())

    def restore_artifacts(self, path: Path) -> None:
        with path.open("rb") as archive:
            self._mlflow("tar", "-C", FOLDER, "-xf", "-", "--no-same-owner", stdin=archive)

    def start_command(self) -> str:
        return f"{' '.join(self._words)} up -d"

    def empty_command(self) -> str:
        # Without the profile, Compose v2 keeps the volume of `train`, whose cache refers to deleted runs.
        return f"{' '.join(self._words)} --profile train down --volumes"

    def _database(self, name: str) -> Postgres:
        """Return the database of this name, accessed as its owner, the role of the same name."""
        words = ["exec", "-T", "postgres"]
        options = [f"--username={name}", f"--dbname={name}"]
        return Postgres(f"{name}.dump", lambda program: [*self._words, *words, program, *options])

    def _mlflow(self, *words: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None) -> bytes:
        """Run a command in a container with MLflow's volume; MLflow itself need not run."""
        return self._run("run", "--rm", "--no-deps", "-T", "mlflow", *words, stdin=stdin, stdout=stdout)

    def _run(self, *words: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None) -> bytes:
        done = subprocess.run(
            [*self._words, *words],
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if done.returncode:
            raise BackupError(f"{' '.join(self._words)} {words[0]} failed: {last_line(done.stderr.decode())}")
        return done.stdout or b""


def command() -> list[str]:
    """Return the command of Compose v2 if Docker has it, otherwise docker-compose. Raises BackupError."""
    v2 = ["docker", "compose"]
    if shutil.which("docker") and subprocess.run([*v2, "version"], capture_output=True).returncode == 0:
        return v2
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise BackupError(
        "neither `docker compose` nor `docker-compose` is installed: install one, or use --stack local"
    )
