"""What a backup asks of a database, whichever it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

READ = ("registered_model_aliases", "model_version_tags")
"""Tables of MLflow's whose rows a backup looks into: who is champion, and what its weights hash to."""


class BackupError(Exception):
    """What went wrong and the way out, as one line for the terminal."""


@dataclass
class Contents:
    """What is in a dump: rows a table, and the rows themselves of the tables READ."""

    counts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)


class Database(Protocol):
    """Every method raises BackupError."""

    @property
    def file(self) -> str:
        """What its dump is called."""

    def dump(self, path: Path) -> None:
        """One consistent state of it, while others write."""

    def read(self, path: Path) -> Contents:
        """All of a dump, read to its end."""

    def counts(self) -> dict[str, int]:
        """Rows a table now; nothing where there is no table yet."""

    def restore(self, path: Path) -> None:
        """Replace all that is in it. When it fails, running it again ends well."""
