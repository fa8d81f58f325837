"""A backup on disk: a folder with one file per part and a manifest of their contents."""

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
    """The contents of a backup. `weights` maps each registered version to the sha256 of its weights."""

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


def inspect(folder: Path, stack: Stack) -> Manifest:
    """Read every file to its end and build the manifest. Raises BackupError if the files are inconsistent."""
    reviews = stack.reviews.read(folder / stack.reviews.file)
    registry = stack.registry.read(folder / stack.registry.file)
    weights = weight_hashes(registry)
    if missing := set(weights.values()) - file_hashes(folder / ARTIFACTS):
        incomplete = ", ".join(version for version, digest in weights.items() if digest in missing)
        raise BackupError(
            f"the weights of version {incomplete} of '{MODEL}' are missing from MLflow's artifacts or differ"
            " from those registered: recover them, or delete the version in MLflow"
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
    """Read the manifest. Raises BackupError if it is missing or invalid."""
    try:
        return Manifest(**json.loads((folder / MANIFEST).read_text()))
    except FileNotFoundError:
        raise BackupError(f"{folder} is not a backup: it has no {MANIFEST}") from None
    except (TypeError, ValueError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error}") from None


def verify(folder: Path, stack: Stack) -> Manifest:
    """Compare every file with the manifest and return it. Raises BackupError."""
    manifest = read(folder)
    if manifest.format != FORMAT:
        raise BackupError(
            f"{folder} has format {manifest.format}, not {FORMAT}: use the release that created it"
        )
    if manifest.stack != stack.name:
        raise BackupError(
            f"{folder} is a backup of the stack `{manifest.stack}`, which stores MLflow's database"
            f" differently from `{stack.name}`: use --stack {manifest.stack}"
        )
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != expected:
            raise BackupError(f"{path} is {'damaged' if path.is_file() else 'missing'}: use another backup")
    return manifest


def weight_hashes(registry: Contents) -> dict[str, str]:
    """Return the sha256 of the weights of each registered version, from its tags."""
    return {
        row["version"]: row["value"]
        for row in registry.rows.get("model_version_tags", [])
        if row["name"] == MODEL and row["key"] == "weights_sha256"
    }


def aliases(registry: Contents) -> dict[str, str]:
    rows = registry.rows.get("registered_model_aliases", [])
    return {row["alias"]: row["version"] for row in rows if row["name"] == MODEL}


def file_hashes(path: Path) -> set[str]:
    """Return the sha256 of every file in a tar. Raises BackupError if it is truncated."""
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
