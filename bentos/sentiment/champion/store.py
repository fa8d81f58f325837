"""Model versions in BentoML's local model store, so that serving can start while MLflow is down.

A version is stored as `sentiment:<version>-<first 12 digits of the sha256 of its files>`. It is never
overwritten, and version 3 of another registry has another tag. Beside BentoML's `latest`, each registry has
three pointer files: `champion-<hash of its URI>` names its last known champion, `previous-<hash of its URI>`
the one before, `served-<hash of its URI>` the last champion that could also be loaded. `prune` removes the
versions that no pointer names, nobody uses and are not among the last few.
"""

import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml.exceptions import BentoMLException

from bentos.sentiment import cuda
from bentos.sentiment.known_words import KNOWN_WORDS
from bentos.sentiment.registry import MODEL, RegistryError, without_credentials

FILES = ("model.xml", "model.bin", "tokenizer.json", "serving.json")
OPTIONAL = (KNOWN_WORDS, *(f"model/{name}" for name in cuda.FILES))
"""Files that not every version has."""

POINTERS = ("champion", "previous", "served")

KEPT = 3
"""How many of the versions stored last are kept, although no pointer names them."""


class Use:
    """While this exists, in any process, `prune` leaves the version alone. Ends with its process, if killed.

    A shared lock on the version's model.yaml. Hold the store's lock to begin a use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = os.open(folder / "model.yaml", os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def __reduce__(self) -> tuple[type["Use"], tuple[Path]]:
        """A copy in another process is a use of its own."""
        return Use, (self._folder,)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A version in the store, whose files match their hashes. It is not removed while this exists."""

    tag: str
    version: str
    folder: Path
    golden: Mapping[str, float] = field(default_factory=dict)
    """A few texts with their probabilities of being positive."""
    use: Use | None = field(default=None, compare=False, repr=False)


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
    """Copy a serving folder, already checked, into the store. Hold the lock."""
    present = [name for name in OPTIONAL if (folder / name).is_file()]
    hashes = {name: sha256(folder / name) for name in (*FILES, *present)}
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
    stored = _folder() / _name(name)
    return StoredModel(name, version, stored, dict(golden), Use(stored))


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
            folder = Path(model.path)
            return StoredModel(name, metadata["version"], folder, golden, Use(folder))
    except (BentoMLException, KeyError, FileNotFoundError):
        pass
    shutil.rmtree(_folder() / _name(name), ignore_errors=True)
    return None


def last_champion(tracking_uri: str) -> StoredModel | None:
    """Return the version last passed to `mark_champion` for this registry, if intact."""
    with locked():
        return _read(_pointer("champion", tracking_uri))


def mark_champion(model: StoredModel, tracking_uri: str) -> None:
    """Record the champion, and the one before as previous: a rollback may ask for it."""
    champion, previous = (_pointer(name, tracking_uri) for name in ("champion", "previous"))
    with locked():
        if champion.exists() and (last := champion.read_text()) != _name(model.tag):
            _write(previous, last)
        _write(champion, _name(model.tag))


def last_served(tracking_uri: str) -> StoredModel | None:
    """Return the version last passed to `mark_served` for this registry, if intact."""
    with locked():
        return _read(_pointer("served", tracking_uri))


def mark_served(model: StoredModel, tracking_uri: str) -> None:
    with locked():
        _write(_pointer("served", tracking_uri), _name(model.tag))


def prune() -> None:
    """Remove the versions that no registry's pointer names, nobody uses, and are not among the last KEPT.

    Hold the lock: then nobody begins to use a version meanwhile.
    """
    pointers = itertools.chain.from_iterable(_folder().glob(f"{name}-*") for name in POINTERS)
    named = {pointer.read_text().strip() for pointer in pointers if pointer.is_file()}
    versions = sorted(
        (one for one in _folder().iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime
    )
    for folder in versions[:-KEPT]:
        if folder.name not in named and not _is_used(folder):
            shutil.rmtree(folder, ignore_errors=True)


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


def _write(pointer: Path, version: str) -> None:
    temporary = pointer.with_name(f"{pointer.name}.{os.getpid()}")
    temporary.write_text(version)
    temporary.replace(pointer)


def _name(tag: str) -> str:
    """Return the part of a tag that names the version's folder."""
    return tag.partition(":")[2]


def _is_used(folder: Path) -> bool:
    """Return whether any process has a `Use` of the version, or may have one."""
    try:
        with (folder / "model.yaml").open("r+b") as file:  # NFS grants exclusive locks to writers only
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # incomplete, so of no use
        return False
    except OSError:
        return True
    return False
