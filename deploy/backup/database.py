"""The interface of a database that can be backed up."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

INSPECTED_TABLES = ("registered_model_aliases", "model_version_tags")
"""MLflow tables whose rows a backup reads: the champion, and the hashes of weights."""


class BackupError(Exception):
    """An error with its remedy, in one line for the terminal."""


@dataclass
class Contents:
    """The contents of a dump: row counts per table, and the rows of INSPECTED_TABLES."""

    counts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)


class Database(Protocol):
    """Every method raises BackupError."""

    @property
    def file(self) -> str:
        """File name of the dump."""

    def dump(self, path: Path) -> None:
        """Write a consistent snapshot while others write to the database."""

    def read(self, path: Path) -> Contents:
        """Read a dump to its end."""

    def counts(self) -> dict[str, int]:
        """Return the current row count of each table; empty before the first migration."""

    def restore(self, path: Path) -> None:
        """Replace the whole content. A failed restore can be repeated."""
