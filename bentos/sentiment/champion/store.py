"""Model versions in BentoML's local model store, so that serving can start while MLflow is down.

A version is stored as `sentiment:<version>-<first 12 digits of the sha256 of its files>`. It is never
overwritten, and version 3 of another registry has another tag. Beside BentoML's `latest`, each registry has
two pointer files: `champion-<hash of its URI>` names its last known champion, `served-<hash of its URI>` the
last champion that could also be loaded.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml.exceptions import BentoMLException

from bentos.sentiment import cuda
from bentos.sentiment.registry import MODEL, RegistryError, without_credentials

FILES = ("model.xml", "model.bin", "tokenizer.json", "serving.json")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A version in the store, whose files match their hashes."""

    tag: str
    version: str
    folder: Path
    golden: Mapping[str, float] = field(default_factory=dict)
    """A few texts with their probabilities of being positive."""


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the store's lock, so that one process downloads a version and the others find it.

    Not reentrant. Raises RegistryError for an OSError inside, such as a full disk: it says nothing about the
    versions in the store.
    """
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        with (_folder() / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise RegistryError(
            f"the local store {_folder()} cannot be used ({error}): see `df` and `ulimit -n`"
        ) from error


def add(
    folder: Path, version: str, identity: str, golden: Mapping[str, float], tracking_uri: str
) -> StoredModel:
    """Copy a serving folder, already checked, into the store."""
    trained = [f"model/{name}" for name in cuda.FILES if (folder / "model" / name).is_file()]
    hashes = {name: sha256(folder / name) for name in (*FILES, *trained)}
    metadata = {
        "version": version,
        "registry": without_credentials(tracking_uri),
        "sha256": hashes,
        "golden": dict(golden),
    }
    name = tag(version, identity)
    with bentoml.models.create(name, metadata=metadata) as model:
        for file in hashes:
            Path(model.path_of(file)).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / file, model.path_of(file))
    return StoredModel(name, version, _folder() / name.partition(":")[2], dict(golden))


def find(name: str) -> StoredModel | None:
    """Return the version with this tag, or None. Removes one that is incomplete or damaged.

    Hold the lock (`locked`): another process may be writing that version. An OSError is raised and removes
    nothing, because a version that cannot be read now may be intact.
    """
    try:
        model = bentoml.models.get(name)
        metadata: dict[str, Any] = model.info.metadata
        hashes: dict[str, str] = metadata["sha256"]
        if all(sha256(Path(model.path_of(file))) == hashes[file] for file in {*FILES, *hashes}):
            golden = metadata.get("golden", {})  # missing in stores of earlier releases
            return StoredModel(name, metadata["version"], Path(model.path), golden)
    except (BentoMLException, KeyError, FileNotFoundError):
        pass
    shutil.rmtree(_folder() / name.partition(":")[2], ignore_errors=True)
    return None


def last_champion(tracking_uri: str) -> StoredModel | None:
    """Return the version last passed to `mark_champion` for this registry, if intact."""
    with locked():
        return _read(_pointer("champion", tracking_uri))


def mark_champion(model: StoredModel, tracking_uri: str) -> None:
    with locked():
        _write(_pointer("champion", tracking_uri), model)


def last_served(tracking_uri: str) -> StoredModel | None:
    """Return the version last passed to `mark_served` for this registry, if intact."""
    with locked():
        return _read(_pointer("served", tracking_uri))


def mark_served(model: StoredModel, tracking_uri: str) -> None:
    with locked():
        _write(_pointer("served", tracking_uri), model)


def tag(version: str, sha256: str) -> str:
    return f"{MODEL}:{version}-{sha256[:12]}"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path, but: Path | None = None) -> str:
    """Return the sha256 of the lines that `sha256sum` prints for the folder's files, sorted by path.

    Files in the folder `but` are left out.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and but not in path.parents]
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    lines = "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def _folder() -> Path:
    return Path(BentoMLContainer.model_store_dir.get()) / MODEL


def _pointer(name: str, tracking_uri: str) -> Path:
    return _folder() / f"{name}-{hashlib.sha256(tracking_uri.encode()).hexdigest()[:12]}"


def _read(pointer: Path) -> StoredModel | None:
    return find(f"{MODEL}:{pointer.read_text().strip()}") if pointer.exists() else None


def _write(pointer: Path, model: StoredModel) -> None:
    temporary = pointer.with_name(f"{pointer.name}.{os.getpid()}")
    temporary.write_text(model.tag.partition(":")[2])
    temporary.replace(pointer)
