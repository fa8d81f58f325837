"""Dump, verify, restore: the same for every stack."""

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup import archive
from deploy.backup.archive import Manifest
from deploy.backup.database import BackupError
from deploy.backup.stack import ARTIFACTS, Stack

MISSED = ("review", "runs", "registered_models")
"""Tables whose rows somebody would miss; a stack that was only started has others."""


def dump(stack: Stack, into: Path) -> Path:
    """A new folder in `into`, complete or not there at all. Raises BackupError.

    In this order, because each part names things of the next: a review the version that read it, the
    registry the artifacts of its versions. What is written meanwhile only adds to the later parts.
    """
    folder = into / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside = folder.with_name(f"{folder.name}.partial")
    stack.start_database()
    try:
        aside.mkdir(mode=0o700, parents=True)  # it holds reviews and the hashes of keys
        step(stack.reviews.file, lambda: stack.reviews.dump(aside / stack.reviews.file))
        step(stack.registry.file, lambda: stack.registry.dump(aside / stack.registry.file))
        step(ARTIFACTS, lambda: stack.dump_artifacts(aside / ARTIFACTS))
        step("verify", lambda: archive.describe(aside, stack).write(aside))
        aside.rename(folder)
    except OSError as error:
        raise BackupError(f"{error.strerror}: {error.filename or aside}. There is no new backup") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    print(f"{folder}: {archive.read(folder).summary()}")
    return folder


def verify(stack: Stack, folder: Path) -> Manifest:
    """Read all of a backup again. Raises BackupError."""
    manifest = archive.verify(folder, stack)
    stack.start_database()
    found = archive.describe(folder, stack)
    if (found.rows, found.weights) != (manifest.rows, manifest.weights):
        raise BackupError(f"{folder} does not hold what its manifest says: take another backup")
    print(f"{folder}: whole, {manifest.summary()}")
    return manifest


def restore(stack: Stack, folder: Path) -> None:
    """Fill an empty stack. Raises BackupError; a stack that is not empty is left as it is."""
    manifest = archive.verify(folder, stack)
    stack.start_database()
    refuse_unless_empty(stack)
    stack.stop_services()
    step(ARTIFACTS, lambda: stack.restore_artifacts(folder / ARTIFACTS))
    step(stack.registry.file, lambda: stack.registry.restore(folder / stack.registry.file))
    step(stack.reviews.file, lambda: stack.reviews.restore(folder / stack.reviews.file))
    for database in (stack.registry, stack.reviews):
        if (now := database.counts()) != manifest.rows[database.file]:
            raise BackupError(
                f"{database.file} was restored as {now}, dumped were {manifest.rows[database.file]}"
            )
    print(f"restored {manifest.summary()}; start it: {stack.next_step()}")


def refuse_unless_empty(stack: Stack) -> None:
    counts = stack.reviews.counts() | stack.registry.counts()
    found = [f"{counts[table]} rows in {table}" for table in MISSED if counts.get(table)]
    if stack.has_artifacts():
        found.append("artifacts of MLflow")
    if found:
        raise BackupError(
            f"the stack `{stack.name}` is not empty ({', '.join(found)}), and a restore would replace that."
            f" To empty it: {stack.way_to_empty()}"
        )


def step(name: str, work: Callable[[], None]) -> None:
    """Do a part, with a line that says how long it took."""
    began = time.monotonic()
    work()
    print(f"{name:<14} {time.monotonic() - began:6.1f} s", flush=True)
