"""The interface of a stack that can be backed up."""

from pathlib import Path
from typing import Protocol

from deploy.backup.database import Database

ARTIFACTS = "artifacts.tar"


def tar(folder: str) -> tuple[str, ...]:
    """Return the command that writes a folder to standard output, while files in it change or disappear.

    GNU tar then exits with 1. What matters, the registered weights, is verified after it.
    """
    return ("sh", "-c", 'tar -C "$0" -cf - . || [ $? -eq 1 ]', folder)


class Stack(Protocol):
    """Every method raises BackupError."""

    @property
    def name(self) -> str: ...

    @property
    def reviews(self) -> Database: ...

    @property
    def registry(self) -> Database: ...

    def start_database(self) -> None:
        """Start PostgreSQL, and nothing else, if it is down."""

    def stop_services(self) -> None:
        """Stop every service except PostgreSQL."""

    def dump_artifacts(self, path: Path) -> None:
        """Write the artifacts of MLflow to a tar file."""

    def has_artifacts(self) -> bool: ...

    def restore_artifacts(self, path: Path) -> None: ...

    def start_command(self) -> str:
        """Return the command that starts the restored stack."""

    def empty_command(self) -> str:
        """Return the commands that empty the stack."""
