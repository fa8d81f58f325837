"""Where a run comes from: code, data, params. The same tags go to the run and to the registered version.

`python -m pipelines.lineage` is the way back from a version; pipelines/origin.py is that.
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

# Files that a pipeline run rewrites say nothing about the code that ran.
_NOT_WRITTEN_BY_DVC = (":!dvc.lock", ":!results")
_PARAMS = "params.yaml"


def lineage(split: Path) -> dict[str, str]:
    """Tags naming the code, the data, the split and the params of what runs now.

    `split` is the validation file: two accuracies compare only when it is the same.
    """
    return state() | {"split_sha256": sha256(split)}


def state() -> dict[str, str]:
    """Tags naming the code, the data and the params that the project's folder holds now."""
    return {
        "git_sha": _commit() or "none",
        "git_dirty": str(bool(_git("status", "--porcelain", "--", ".", *_NOT_WRITTEN_BY_DVC))).lower(),
        "patch_sha256": hashlib.sha256(patch).hexdigest() if (patch := uncommitted()) else "none",
        "data_md5": data_md5(),
        "params_sha256": sha256(Path(_PARAMS)),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", "none"),
    }


def data_md5(pointer: Path = Path("data.dvc")) -> str:
    """The md5 of data/ that DVC pins in data.dvc."""
    try:
        return str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"])
    except FileNotFoundError:
        raise PipelineError(f"{pointer} is missing: run `make ingest`, then `dvc add data`") from None


def uncommitted() -> bytes:
    """What sets the folder apart from its commit, for `git apply`: changed, deleted and new files.

    Without params.yaml, which is kept whole, and without what git ignores. Nothing when all is committed,
    or where there is no git. The user's index is not touched: git is lent one of our own, and a place
    for the objects that it makes.
    """
    if not _commit():
        return b""
    objects = Path(_git("rev-parse", "--git-path", "objects")).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        ours = {
            "GIT_INDEX_FILE": f"{scratch}/index",
            "GIT_OBJECT_DIRECTORY": scratch,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
        }
        _need_git("read-tree", "HEAD", env=ours)
        _need_git("add", "--all", "--", ".", *_NOT_WRITTEN_BY_DVC, f":!{_PARAMS}", env=ours)
        # The plumbing heeds no settings of the user's, such as diff.noprefix or an external diff.
        return _need_git("diff-index", "-p", "--cached", "--binary", "HEAD", env=ours)


def _commit() -> str:
    return _git("rev-parse", "--verify", "--quiet", "HEAD")


def _git(*words: str) -> str:
    """What git prints, or nothing where there is no git checkout (an unpacked archive, a container)."""
    run = subprocess.run(["git", *words], capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""


def _need_git(*words: str, env: Mapping[str, str]) -> bytes:
    run = subprocess.run(["git", *words], capture_output=True, env=os.environ | dict(env))
    if run.returncode:
        reason = run.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise PipelineError(f"git cannot tell what is not committed: {reason[0]}; see `git status`")
    return run.stdout
