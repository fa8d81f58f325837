"""The stack of `make up`."""

import contextlib
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from deploy.backup.database import BackupError
from deploy.backup.postgres import Postgres, last_line
from deploy.backup.sqlite import Sqlite
from deploy.backup.stack import tar
from deploy.local.down import bring_down
from deploy.local.postgres import BIN, is_ready
from deploy.local.settings import Settings, StackError, prepare_settings
from deploy.local.supervision import Supervisor
from deploy.local.up import bring_up


class Local:
    name = "local"

    def __init__(self) -> None:
        with as_backup_error():
            self._settings = prepare_settings()
        self._artifacts = self._settings.var_dir / "mlartifacts"
        self.reviews = postgres(self._settings)
        self.registry = Sqlite(self._settings.var_dir / "mlflow.db", self._artifacts)

    def start_database(self) -> None:
        if self._settings.embedded_database and not is_ready(self._settings):
            with as_backup_error():
                bring_up(self._settings, ["postgres"])

    def stop_services(self) -> None:
        supervisor = Supervisor(self._settings.var_dir)
        with as_backup_error(), supervisor.locked():
            bring_down(supervisor)
        self.start_database()

    def dump_artifacts(self, path: Path) -> None:
        self._artifacts.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            done = subprocess.run(tar(str(self._artifacts)), stdout=out, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise BackupError(f"tar failed with exit code {done.returncode}: {last_line(done.stderr)}")

    def has_artifacts(self) -> bool:
        return self._artifacts.is_dir() and any(self._artifacts.iterdir())

    def restore_artifacts(self, path: Path) -> None:
        self._artifacts.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path) as archive:
            # Python before 3.11.4 has no filters; the checksum was verified, so the archive is trusted.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(self._artifacts)  # noqa: S202

    def start_command(self) -> str:
        return "make up"

    def empty_command(self) -> str:
        return f"make down; mv {self._settings.var_dir} {self._settings.var_dir}.before"


def postgres(settings: Settings) -> Postgres:
    """Return the database of the API. The password is passed in the environment, not on command lines."""
    url = make_url(settings.api_database_url).set(drivername="postgresql")
    address = url._replace(password=None).render_as_string()
    tls = url.query.get("sslmode") in ("require", "verify-ca", "verify-full")
    return Postgres(
        file="reviews.dump",
        command=lambda program: [client(program, tls), f"--dbname={address}"],
        environment={"PGPASSWORD": url.password or ""},
    )


def client(program: str, tls: bool) -> str:
    """Locate a program of PostgreSQL. Those of the wheel have no TLS. Raises BackupError."""
    if not tls:
        return str(BIN / program)
    if found := shutil.which(program):
        return found
    raise BackupError(
        f"DATABASE_URL asks for TLS and {program} is not on the PATH: install postgresql-client"
    )


@contextlib.contextmanager
def as_backup_error() -> Iterator[None]:
    """Convert StackError to BackupError."""
    try:
        yield
    except StackError as error:
        raise BackupError(str(error)) from None
