"""A backup on disk: a folder with a file for each part and a manifest that says what is in them."""

import hashlib
import json
import tarfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup.database import BackupError, Contents
from deploy.backup.stack import ARTIFACTS, Stack

MANIFEST = "manifest.json"
FORMAT = 1
MODEL = "sentiment"


@dataclass(frozen=True)
class Manifest:
    """Counts are rows; `weights` is the sha256 of each registered version's weights."""

    stack: str
    made_at: str
    files: dict[str, str]
    rows: dict[str, dict[str, int]]
    aliases: dict[str, str]
    weights: dict[str, str]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n")

    def summary(self) -> str:
        reviews = self.rows["reviews.dump"].get("review", 0)
        champion = self.aliases.get("champion", "none")
        return f"{reviews} reviews, {len(self.weights)} model versions, champion {champion}"


def describe(folder: Path, stack: Stack) -> Manifest:
    """What the files in the folder hold, each read to its end. Raises BackupError when they do not fit."""
    reviews = stack.reviews.read(folder / stack.reviews.file)
    registry = stack.registry.read(folder / stack.registry.file)
    weights = versions(registry)
    if absent := sorted(set(weights.values()) - hashes(folder / ARTIFACTS)):
        gone = ", ".join(version for version, sha256 in weights.items() if sha256 in absent)
        raise BackupError(
            f"the weights of version {gone} of '{MODEL}' are not among MLflow's artifacts as they were"
            " registered: look for them, or delete the version in MLflow"
        )
    names = (stack.reviews.file, stack.registry.file, ARTIFACTS)
    return Manifest(
        stack=stack.name,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files={name: sha256(folder / name) for name in names},
        rows={stack.reviews.file: reviews.counts, stack.registry.file: registry.counts},
        aliases=aliases(registry),
        weights=weights,
    )


def read(folder: Path) -> Manifest:
    """Raises BackupError when there is none, or not one of ours."""
    try:
        return Manifest(**json.loads((folder / MANIFEST).read_text()))
    except FileNotFoundError:
        raise BackupError(f"{folder} is no backup: it has no {MANIFEST}") from None
    except (TypeError, ValueError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error}") from None


def verify(folder: Path, stack: Stack) -> Manifest:
    """The manifest, after finding every file as it was. Raises BackupError."""
    manifest = read(folder)
    if manifest.format != FORMAT:
        raise BackupError(
            f"{folder} has format {manifest.format}, this reads {FORMAT}: use the release that made it"
        )
    if manifest.stack != stack.name:
        raise BackupError(
            f"{folder} is of the stack `{manifest.stack}`: MLflow's database there is another one than that"
            f" of `{stack.name}`. Restore it with --stack {manifest.stack}"
        )
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != expected:
            raise BackupError(f"{path} is {'damaged' if path.is_file() else 'missing'}: take another backup")
    return manifest


def versions(registry: Contents) -> dict[str, str]:
    """The sha256 of the weights that each version of the model was registered with."""
    return {
        row["version"]: row["value"]
        for row in registry.rows.get("model_version_tags", [])
        if row["name"] == MODEL and row["key"] == "weights_sha256"
    }


def aliases(registry: Contents) -> dict[str, str]:
    rows = registry.rows.get("registered_model_aliases", [])
    return {row["alias"]: row["version"] for row in rows if row["name"] == MODEL}


def hashes(path: Path) -> set[str]:
    """The sha256 of every file in a tar. Raises BackupError when it is cut short."""
    try:
        with tarfile.open(path) as archive:
            return {digest(archive, member) for member in archive if member.isfile()}
    except tarfile.TarError as error:
        raise BackupError(f"{path} cannot be read: {error}") from None


def digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    found, file = hashlib.sha256(), archive.extractfile(member)
    while file and (block := file.read(2**20)):
        found.update(block)
    return found.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
