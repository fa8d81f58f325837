"""Restoring a version's project in a new folder, and checking that it reproduces the accuracy."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256
from pipelines.lineage.tags import data_md5
from pipelines.lineage.uncommitted import split

# Accuracy. The same processor and number of threads reproduce the weights bit for bit. Others sum in another
# order, so the weights diverge and predictions near 0.5 may change. 0.005 is below the standard error of an
# accuracy on 2,551 reviews, 0.007.
TOLERANCE = 0.005

CACHE = "original"


def restore(folder: Path, tags: Mapping[str, str], params: bytes, patch: bytes) -> None:
    """Clone the commit, apply the uncommitted changes, write params.yaml and fetch the data.

    The clone shares this repository's git objects but not its DVC cache, from which `dvc repro` would
    restore the results without running anything. The results that git tracks are deleted, so that `check`
    does not read an accuracy that was not reproduced. Raises PipelineError if a part is unavailable.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PipelineError(f"{folder} exists and is not empty: choose a new folder")
    sha = tags["git_sha"]
    if _run("git", "cat-file", "-e", f"{sha}^{{commit}}").returncode:
        raise PipelineError(f"commit {sha} is not in this repository: `git fetch` a branch that contains it")
    _must("git", "clone", "--quiet", "--shared", "--no-checkout", ".", str(folder))
    _must("git", "checkout", "--quiet", "--detach", sha, cwd=folder)
    if changes := split(patch)[1]:
        _must("git", "apply", "--whitespace=nowarn", cwd=folder, stdin=changes)
    shutil.rmtree(folder / "results", ignore_errors=True)
    (folder / "params.yaml").write_bytes(params)
    bring_data(folder, tags["data_md5"])


def bring_data(folder: Path, md5: str) -> None:
    """Have DVC restore data/ from this project's cache or, failing that, from its default remote."""
    if (pinned := data_md5(folder / "data.dvc")) != md5:
        raise PipelineError(f"{folder}/data.dvc pins {pinned}, but the version was trained on {md5}")
    cache = Path(_must("dvc", "cache", "dir").strip()).resolve()
    _must("dvc", "remote", "add", "--quiet", "--local", CACHE, str(cache), cwd=folder)
    pull = ("dvc", "pull", "--quiet")
    if all(_run(*pull, *remote, "data.dvc", cwd=folder).returncode for remote in (("-r", CACHE), ())):
        raise PipelineError(
            f"{folder} is complete except for its data: neither DVC's cache nor a remote has {md5}. Ingest it"
            " there from its source (`python -m pipelines.ingest`; --help lists the sources);"
            " `dvc add data` must then leave data.dvc unchanged."
        )


def repro(folder: Path) -> None:
    """Run `dvc repro evaluate` in `folder`, with the folder's own MLflow store.

    Nothing is registered, since the version already exists. Raises PipelineError if it fails.
    """
    if subprocess.run(["dvc", "repro", "evaluate"], cwd=folder, env=_environment()).returncode:
        raise PipelineError(f"`dvc repro evaluate` failed in {folder}: see its output above")


def check(folder: Path, tags: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Compare the accuracy in `folder` with the version's, and this machine's tags (`hardware`) with its.

    Raises PipelineError if the accuracy is not within TOLERANCE.
    """
    try:
        reached = float(json.loads((folder / "results/evaluate/metrics.json").read_text())["accuracy"])
    except FileNotFoundError:
        raise PipelineError(f"{folder} has no results yet: cd {folder} && dvc repro") from None
    expected = float(tags["accuracy"])
    compared = f"accuracy {reached:.4f}, the version's is {expected:.4f}"
    if not abs(reached - expected) <= TOLERANCE + 1e-6:  # the tag has six digits; `not` also catches NaN
        raise PipelineError(f"{compared}: not reproduced within {TOLERANCE}{differences(tags, here)}")
    served = folder / "results/export/serving/model.bin"
    same = served.exists() and sha256(served) == tags.get("weights_sha256")
    weights = "the same weights, bit for bit" if same else f"other weights, within {TOLERANCE}"
    return f"{compared}: reproduced, {weights}{differences(tags, here)}"


def differences(tags: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Return in which tags this machine differs from the one that trained the version; empty if in none."""
    found = [
        f"{name} {here[name]} instead of {tags[name]}"
        for name in here
        if name in tags and tags[name] != here[name]
    ]
    return f" (here: {', '.join(found)})" if found else ""


def _environment() -> dict[str, str]:
    """Return the environment without variables that point to this MLflow store or DVC project."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_", "GIT_"))
    }


def _run(*words: str, cwd: Path = Path(), stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, cwd=cwd, input=stdin, capture_output=True, env=_environment())


def _must(*words: str, cwd: Path = Path(), stdin: bytes = b"") -> str:
    """Return the command's output. Raises PipelineError with the last line of stderr if it fails."""
    done = _run(*words, cwd=cwd, stdin=stdin)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise PipelineError(f"`{' '.join(words)}` in {cwd.resolve()}: {reason[0]}")
    return done.stdout.decode()
