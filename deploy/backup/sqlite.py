"""MLflow's database in one file, with the artifacts in a folder beside it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.backup.database import READ, BackupError, Contents

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps the absolute place of an artifact."""

ANYWHERE = "backup:///mlartifacts"
"""Stands in a dump for the folder of the artifacts: it is restored into another one."""


@dataclass(frozen=True)
class Sqlite:
    path: Path
    artifacts: Path
    file: str = "mlflow.db"

    def dump(self, path: Path) -> None:
        if not self.path.is_file():
            raise BackupError(f"there is no {self.path}: nothing was trained here yet (`make repro`)")
        with opened(self.path) as source, opened(path) as target:
            source.backup(target)
            moved(target, self.artifacts.as_uri(), ANYWHERE)

    def read(self, path: Path) -> Contents:
        with opened(path) as database:
            (state,) = database.execute("PRAGMA integrity_check").fetchone()
            if state != "ok":
                raise BackupError(f"{path} is damaged: {state}")
            rows = {}
            for table in READ:
                found = database.execute(f"SELECT * FROM {table}")  # noqa: S608
                names = [column[0] for column in found.description]
                rows[table] = [dict(zip(names, map(str, row), strict=True)) for row in found]
            return Contents(counts(database), rows)

    def counts(self) -> dict[str, int]:
        if not self.path.is_file():
            return {}
        with opened(self.path) as database:
            return counts(database)

    def restore(self, path: Path) -> None:
        aside = self.path.with_name(f"{self.path.name}.restoring")
        aside.unlink(missing_ok=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with opened(path) as source, opened(aside) as target:
            source.backup(target)
            moved(target, ANYWHERE, self.artifacts.as_uri())
        for journal in ("-wal", "-shm"):
            self.path.with_name(self.path.name + journal).unlink(missing_ok=True)
        os.replace(aside, self.path)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Raises BackupError for what SQLite makes of the file."""
    try:
        with closing(sqlite3.connect(path)) as database:
            yield database
    except sqlite3.Error as error:
        raise BackupError(f"{path}: {error}") from None


def counts(database: sqlite3.Connection) -> dict[str, int]:
    names = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {
        name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608
        for (name,) in names.fetchall()
    }


def moved(database: sqlite3.Connection, old: str, new: str) -> None:
    """Let every place below the folder `old` be below `new`."""
    for table, column in PLACES:
        database.execute(
            f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1)"  # noqa: S608
            f" WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
            {"old": old, "new": new},
        )
    database.commit()
