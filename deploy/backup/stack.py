"""What a backup asks of a stack."""

from pathlib import Path
from typing import Protocol

from deploy.backup.database import Database

ARTIFACTS = "artifacts.tar"


class Stack(Protocol):
    """Every method raises BackupError."""

    @property
    def name(self) -> str: ...

    @property
    def reviews(self) -> Database: ...

    @property
    def registry(self) -> Database: ...

    def start_database(self) -> None:
        """Start PostgreSQL if it is down; nothing else."""

    def stop_services(self) -> None:
        """Stop all that writes, and leave PostgreSQL up."""

    def dump_artifacts(self, path: Path) -> None:
        """All files that MLflow keeps, as a tar."""

    def has_artifacts(self) -> bool: ...

    def restore_artifacts(self, path: Path) -> None: ...

    def next_step(self) -> str:
        """The command that starts the restored stack."""

    def way_to_empty(self) -> str:
        """The commands that take everything away."""
