"""Versions of the model kept in BentoML's model store, so that serving starts with MLflow down.

A version is kept as `sentiment:<version>-<start of the sha256 of its weights>`: it is never written over, and
the version 3 of another registry is another one. Beside BentoML's own pointer `latest` lie two pointers a
registry: `champion-<hash of its address>` to the version that was last its champion, and `served-<hash>` to
the last that could be loaded too.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml.exceptions import BentoMLException

from bentos.sentiment import cuda
from bentos.sentiment.registry import MODEL, public

FILES = ("model.xml", "model.bin", "tokenizer.json", "serving.json")


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A version whose files were read and are those that were registered."""

    tag: str
    version: str
    folder: Path


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One process at a time: who waited finds the version that the other has fetched."""
    _folder().mkdir(parents=True, exist_ok=True)
    with (_folder() / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep(folder: Path, version: str, tracking_uri: str) -> LocalModel:
    """Copy a checked serving folder into the store."""
    trained = [f"model/{name}" for name in cuda.FILES if (folder / "model" / name).is_file()]
    hashes = {name: sha256(folder / name) for name in (*FILES, *trained)}
    metadata = {"version": version, "registry": public(tracking_uri), "sha256": hashes}
    name = tag(version, hashes["model.bin"])
    with bentoml.models.create(name, metadata=metadata) as model:
        for file in hashes:
            Path(model.path_of(file)).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / file, model.path_of(file))
    return LocalModel(name, version, _folder() / name.partition(":")[2])


def find(name: str) -> LocalModel | None:
    """The version of this tag, or None. What a kill left half-written is removed, never served.

    Where a version may be half-written by a living process, call it with the store `locked`.
    """
    try:
        model = bentoml.models.get(name)
        metadata: dict[str, Any] = model.info.metadata
        hashes: dict[str, str] = metadata["sha256"]
        if all(sha256(Path(model.path_of(file))) == hashes[file] for file in {*FILES, *hashes}):
            return LocalModel(name, metadata["version"], Path(model.path))
    except (BentoMLException, OSError, KeyError):
        pass
    shutil.rmtree(_folder() / name.partition(":")[2], ignore_errors=True)
    return None


def last_champion(tracking_uri: str) -> LocalModel | None:
    """What `mark_champion` last named for this registry, if it is still whole."""
    return _read(_pointer("champion", tracking_uri))


def mark_champion(model: LocalModel, tracking_uri: str) -> None:
    _write(_pointer("champion", tracking_uri), model)


def last_served(tracking_uri: str) -> LocalModel | None:
    """The last champion of this registry that could also be loaded, if it is still whole."""
    return _read(_pointer("served", tracking_uri))


def mark_served(model: LocalModel, tracking_uri: str) -> None:
    _write(_pointer("served", tracking_uri), model)


def tag(version: str, weights_sha256: str) -> str:
    return f"{MODEL}:{version}-{weights_sha256[:12]}"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder() -> Path:
    return Path(BentoMLContainer.model_store_dir.get()) / MODEL


def _pointer(name: str, tracking_uri: str) -> Path:
    return _folder() / f"{name}-{hashlib.sha256(tracking_uri.encode()).hexdigest()[:12]}"


def _read(pointer: Path) -> LocalModel | None:
    return find(f"{MODEL}:{pointer.read_text().strip()}") if pointer.exists() else None


def _write(pointer: Path, model: LocalModel) -> None:
    aside = pointer.with_name(f"{pointer.name}.{os.getpid()}")
    aside.write_text(model.tag.partition(":")[2])
    aside.replace(pointer)
