"""The stack of docker-compose.yml. Needs nothing but Python and Compose, v2 or 1.29."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import IO

from deploy.backup.database import BackupError
from deploy.backup.postgres import Postgres, last_line

FOLDER = "/var/lib/mlflow"
PATIENCE = 120  # seconds for PostgreSQL to start


class Compose:
    name = "compose"

    def __init__(self) -> None:
        self._words = command()
        self.reviews = self._database("reviews")
        self.registry = self._database("mlflow")

    def start_database(self) -> None:
        # Not a new one, which would end everybody's connections, whatever has changed in .env meanwhile.
        self._run("up", "-d", "--no-recreate", "postgres")
        deadline = time.monotonic() + PATIENCE
        ready = [*self._words, "exec", "-T", "postgres", "pg_isready", "--quiet", "--host=127.0.0.1"]
        while subprocess.run(ready, stdin=subprocess.DEVNULL, capture_output=True).returncode:
            if time.monotonic() > deadline:
                raise BackupError(f"PostgreSQL is not ready after {PATIENCE} s: see its log")
            time.sleep(0.5)

    def stop_services(self) -> None:
        self._run("stop", "api", "worker", "bento", "mlflow")

    def dump_artifacts(self, path: Path) -> None:
        with path.open("wb") as out:
            self._mlflow("tar", "-C", FOLDER, "-cf", "-", ".", stdout=out)

    def has_artifacts(self) -> bool:
        return bool(self._mlflow("ls", "-A", FOLDER).strip())

    def restore_artifacts(self, path: Path) -> None:
        with path.open("rb") as archive:
            self._mlflow("tar", "-C", FOLDER, "-xf", "-", "--no-same-owner", stdin=archive)

    def next_step(self) -> str:
        return f"{' '.join(self._words)} up -d"

    def way_to_empty(self) -> str:
        # Without its profile v2 leaves the volume of `train`, whose cache names runs that are then gone.
        return f"{' '.join(self._words)} --profile train down --volumes"

    def _database(self, name: str) -> Postgres:
        """The database of this name, by the role of this name, which owns it."""
        words = ["exec", "-T", "postgres"]
        options = [f"--username={name}", f"--dbname={name}"]
        return Postgres(f"{name}.dump", lambda program: [*self._words, *words, program, *options])

    def _mlflow(self, *words: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None) -> bytes:
        """Run a command with MLflow's volume, whether MLflow is up or not."""
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
    """Compose v2 where Docker has it, else docker-compose. Raises BackupError."""
    v2 = ["docker", "compose"]
    if shutil.which("docker") and subprocess.run([*v2, "version"], capture_output=True).returncode == 0:
        return v2
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise BackupError(
        "there is neither `docker compose` nor `docker-compose`: install one, or use --stack local"
    )
