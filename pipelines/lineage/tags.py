"""Lineage tags that identify code, data and params, set on runs and on registered versions.

`python -m pipelines.lineage` uses them to trace a version.
"""

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256
from pipelines.lineage.uncommitted import NOT_WRITTEN_BY_DVC, PARAMS, uncommitted


@dataclass(frozen=True)
class Snapshot:
    """The state of code, data and params: tags that identify it, and the uncommitted changes as a patch."""

    tags: dict[str, str]
    patch: bytes


def snapshot() -> Snapshot:
    """Return the current state of the project's folder."""
    commit = _commit()
    patch = uncommitted() if commit else b""
    constraints = Path("constraints.txt")
    tags = {
        "git_sha": commit or "none",
        "git_dirty": str(bool(_git("status", "--porcelain", "--", ".", *NOT_WRITTEN_BY_DVC))).lower(),
        "patch_sha256": hashlib.sha256(patch).hexdigest() if patch else "none",
        "data_md5": data_md5(),
        "params_sha256": sha256(Path(PARAMS)),
        "constraints_sha256": sha256(constraints) if constraints.exists() else "none",
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", "none"),
    }
    return Snapshot(tags, patch)


def data_md5(pointer: Path = Path("data.dvc")) -> str:
    """Return the md5 of data/ pinned in data.dvc. Raises PipelineError if the file is missing."""
    try:
        return str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"])
    except FileNotFoundError:
        raise PipelineError(f"{pointer} is missing: run `make ingest`, then `dvc add data`") from None


def _commit() -> str:
    """Return the commit, or an empty string without one. Raises PipelineError if git refuses to look."""
    run = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True)
    if "dubious ownership" in run.stderr:
        raise PipelineError(
            f"git refuses {Path.cwd()}, which another user owns, so the lineage would be lost: run "
            f"`git config --global --add safe.directory {Path.cwd()}`"
        )
    return run.stdout.strip() if run.returncode == 0 else ""


def _git(*words: str) -> str:
    """Return git's output, or an empty string outside a git checkout (an unpacked archive, a container)."""
    run = subprocess.run(["git", *words], capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""
