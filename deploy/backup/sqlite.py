"""MLflow's SQLite database, with its artifacts in a separate folder."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.backup.database import INSPECTED_TABLES, BackupError, Contents

ARTIFACT_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns with absolute URIs of artifacts."""

PLACEHOLDER = "backup:///mlartifacts"
"""Replaces the URI of the artifact folder in a dump, which may be restored elsewhere."""


@dataclass(frozen=True)
class Sqlite:
    path: Path
    artifacts: Path
    file: str = "mlflow.db"

    def dump(self, path: Path) -> None:
        if not self.path.is_file():
            raise BackupError(f"{self.path} does not exist: train a model first (`make repro`)")
        with connect(self.path) as source, connect(path) as target:
            source.backup(target)
            relocate(target, self.artifacts.as_uri(), PLACEHOLDER)

    def read(self, path: Path) -> Contents:
        with connect(path) as database:
            (state,) = database.execute("PRAGMA integrity_check").fetchone()
            if state != "ok":
                raise BackupError(f"{path} is damaged: {state}")
            rows = {}
            for table in INSPECTED_TABLES:
                found = database.execute(f"SELECT * FROM {table}")  # noqa: S608
                names = [column[0] for column in found.description]
                rows[table] = [dict(zip(names, map(str, row), strict=True)) for row in found]
            return Contents(counts(database), rows)

    def counts(self) -> dict[str, int]:
        if not self.path.is_file():
            return {}
        with connect(self.path) as database:
            return counts(database)

    def restore(self, path: Path) -> None:
        temporary = self.path.with_name(f"{self.path.name}.restoring")
        temporary.unlink(missing_ok=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with connect(path) as source, connect(temporary) as target:
            source.backup(target)
            relocate(target, PLACEHOLDER, self.artifacts.as_uri())
        for journal in ("-wal", "-shm"):
            self.path.with_name(self.path.name + journal).unlink(missing_ok=True)
        os.replace(temporary, self.path)


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database. Raises BackupError for any SQLite error."""
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


def relocate(database: sqlite3.Connection, old: str, new: str) -> None:
    """Replace the prefix `old` of artifact URIs by `new`."""
    for table, column in ARTIFACT_COLUMNS:
        database.execute(
            f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1)"  # noqa: S608
            f" WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
            {"old": old, "new": new},
        )
    database.commit()
