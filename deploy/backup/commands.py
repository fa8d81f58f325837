"""The commands dump, verify and restore, for every kind of stack."""

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup import archive
from deploy.backup.archive import Manifest
from deploy.backup.database import BackupError
from deploy.backup.stack import ARTIFACTS, Stack

USER_TABLES = ("review", "runs", "registered_models")
"""Tables with user data. The others have rows as soon as a stack has started."""


def dump(stack: Stack, into: Path) -> Path:
    """Create a backup in a new folder of `into`, which appears only when complete. Raises BackupError.

    Each part refers to the next: a review to a model version, the registry to artifacts. In this order,
    everything that a part refers to is in the later parts, even while the stack writes.
    """
    folder = into / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    partial = folder.with_name(f"{folder.name}.partial")
    stack.start_database()
    try:
        partial.mkdir(mode=0o700, parents=True)  # contains reviews and key hashes
        step(stack.reviews.file, lambda: stack.reviews.dump(partial / stack.reviews.file))
        step(stack.registry.file, lambda: stack.registry.dump(partial / stack.registry.file))
        step(ARTIFACTS, lambda: stack.dump_artifacts(partial / ARTIFACTS))
        step("verify", lambda: archive.inspect(partial, stack).write(partial))
        partial.rename(folder)
    except OSError as error:
        raise BackupError(f"{error.strerror}: {error.filename or partial}. No backup was created") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{folder}: {archive.read(folder).summary()}")
    return folder


def verify(stack: Stack, folder: Path) -> Manifest:
    """Read a whole backup again and compare it with its manifest. Raises BackupError."""
    manifest = archive.verify(folder, stack)
    stack.start_database()
    found = archive.inspect(folder, stack)
    if (found.rows, found.weights) != (manifest.rows, manifest.weights):
        raise BackupError(f"{folder} does not match its manifest: use another backup")
    print(f"{folder}: complete, {manifest.summary()}")
    return manifest


def restore(stack: Stack, folder: Path) -> None:
    """Restore a backup into an empty stack. Raises BackupError; a stack with data is left unchanged."""
    manifest = archive.verify(folder, stack)
    stack.start_database()
    check_empty(stack)
    stack.stop_services()
    step(ARTIFACTS, lambda: stack.restore_artifacts(folder / ARTIFACTS))
    step(stack.registry.file, lambda: stack.registry.restore(folder / stack.registry.file))
    step(stack.reviews.file, lambda: stack.reviews.restore(folder / stack.reviews.file))
    for database in (stack.registry, stack.reviews):
        if (now := database.counts()) != manifest.rows[database.file]:
            raise BackupError(
                f"{database.file}: restored {now} rows, but the backup has {manifest.rows[database.file]}"
            )
    print(f"restored {manifest.summary()}; start the stack: {stack.start_command()}")


def check_empty(stack: Stack) -> None:
    counts = stack.reviews.counts() | stack.registry.counts()
    found = [f"{counts[table]} rows in {table}" for table in USER_TABLES if counts.get(table)]
    if stack.has_artifacts():
        found.append("MLflow artifacts")
    if found:
        raise BackupError(
            f"the stack `{stack.name}` is not empty ({', '.join(found)}); a restore would replace its data."
            f" To empty it: {stack.empty_command()}"
        )


def step(name: str, work: Callable[[], None]) -> None:
    """Run a step and print its duration."""
    started = time.monotonic()
    work()
    print(f"{name:<14} {time.monotonic() - started:6.1f} s", flush=True)
