"""Lineage tags that identify code, data and params, set on runs and on registered versions.

`python -m pipelines.lineage` uses them to trace a version.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256

# Excluded: files that the pipeline itself rewrites.
_NOT_WRITTEN_BY_DVC = (":!dvc.lock", ":!results")
_PARAMS = "params.yaml"


def lineage(split: Path) -> dict[str, str]:
    """Return the tags for the current code, data, split and params.

    `split` is the validation file; accuracies are comparable only on the same one.
    """
    return state() | {"split_sha256": sha256(split)}


def state() -> dict[str, str]:
    """Return the tags for the current code, data and params of the project's folder."""
    return {
        "git_sha": _commit() or "none",
        "git_dirty": str(bool(_git("status", "--porcelain", "--", ".", *_NOT_WRITTEN_BY_DVC))).lower(),
        "patch_sha256": hashlib.sha256(patch).hexdigest() if (patch := uncommitted()) else "none",
        "data_md5": data_md5(),
        "params_sha256": sha256(Path(_PARAMS)),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", "none"),
    }


def data_md5(pointer: Path = Path("data.dvc")) -> str:
    """Return the md5 of data/ pinned in data.dvc. Raises PipelineError if the file is missing."""
    try:
        return str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"])
    except FileNotFoundError:
        raise PipelineError(f"{pointer} is missing: run `make ingest`, then `dvc add data`") from None


def uncommitted() -> bytes:
    """Return the changes since the commit as a patch for `git apply`, including new and deleted files.

    params.yaml is excluded, because it is stored whole, as are ignored files. The patch is empty without
    changes or without git. A temporary index and object folder leave the user's index untouched.
    """
    if not _commit():
        return b""
    objects = Path(_git("rev-parse", "--git-path", "objects")).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        temporary = {
            "GIT_INDEX_FILE": f"{scratch}/index",
            "GIT_OBJECT_DIRECTORY": scratch,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
        }
        _need_git("read-tree", "HEAD", env=temporary)
        _need_git("add", "--all", "--", ".", *_NOT_WRITTEN_BY_DVC, f":!{_PARAMS}", env=temporary)
        # Plumbing commands ignore user settings such as diff.noprefix or an external diff.
        return _need_git("diff-index", "-p", "--cached", "--binary", "HEAD", env=temporary)


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


def _need_git(*words: str, env: Mapping[str, str]) -> bytes:
    run = subprocess.run(["git", *words], capture_output=True, env=os.environ | dict(env))
    if run.returncode:
        reason = run.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise PipelineError(f"git cannot list uncommitted changes: {reason[0]}; see `git status`")
    return run.stdout
