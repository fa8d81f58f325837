"""The project as it was when a version was made, in a folder of its own; whether it does as well again."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256
from pipelines.lineage.tags import data_md5

# Of accuracy. The same processor and number of threads give the same weights, bit for bit. Others sum in
# another order, and the weights drift apart; what is then called otherwise are reviews near one half.
# 0.005 is less than the standard error of an accuracy on 2,551 reviews, 0.007: no difference worth a name.
TOLERANCE = 0.005

CACHE = "original"


def restore(folder: Path, tags: Mapping[str, str], params: bytes, patch: bytes) -> None:
    """Check out the commit, put the uncommitted changes on top, write params.yaml, bring the data.

    The clone borrows the objects of this repository and has a DVC cache of its own: with ours,
    `dvc repro` would find the results there and run nothing. Raises PipelineError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PipelineError(f"{folder} is there already, and not empty: name a new folder")
    sha = tags["git_sha"]
    if _run("git", "cat-file", "-e", f"{sha}^{{commit}}").returncode:
        raise PipelineError(f"commit {sha} is not in this repository: `git fetch` the branch that has it")
    _must("git", "clone", "--quiet", "--shared", "--no-checkout", ".", str(folder))
    _must("git", "checkout", "--quiet", "--detach", sha, cwd=folder)
    if patch:
        _must("git", "apply", "--whitespace=nowarn", cwd=folder, stdin=patch)
    (folder / "params.yaml").write_bytes(params)
    bring_data(folder, tags["data_md5"])


def bring_data(folder: Path, md5: str) -> None:
    """Have DVC write data/ from this project's cache, or else from the remote that the project names."""
    if (pinned := data_md5(folder / "data.dvc")) != md5:
        raise PipelineError(f"{folder}/data.dvc pins {pinned}, and the version was made from {md5}")
    cache = Path(_must("dvc", "cache", "dir").strip()).resolve()
    _must("dvc", "remote", "add", "--quiet", "--local", CACHE, str(cache), cwd=folder)
    pull = ("dvc", "pull", "--quiet")
    if all(_run(*pull, *remote, "data.dvc", cwd=folder).returncode for remote in (("-r", CACHE), ())):
        raise PipelineError(
            f"{folder} is complete but for its data: no cache or remote of DVC has {md5}. Write them there"
            " from where they came (`python -m pipelines.ingest`, --help lists the sources);"
            " `dvc add data` must then leave data.dvc as it is."
        )


def repro(folder: Path) -> None:
    """Run `dvc repro` there as far as the accuracy, with an MLflow store of its own, and its output on ours.

    Nothing is registered: there is a version of this already.
    """
    if subprocess.run(["dvc", "repro", "evaluate"], cwd=folder, env=_environment()).returncode:
        raise PipelineError(f"`dvc repro evaluate` failed in {folder}; what it printed says why")


def check(folder: Path, tags: Mapping[str, str]) -> str:
    """What to print when the accuracy reached in `folder` is the version's, else raises PipelineError."""
    try:
        reached = float(json.loads((folder / "results/evaluate/metrics.json").read_text())["accuracy"])
    except FileNotFoundError:
        raise PipelineError(f"{folder} has no results yet: cd {folder} && dvc repro") from None
    expected = float(tags["accuracy"])
    compared = f"accuracy {reached:.4f}, and the version has {expected:.4f}"
    if not abs(reached - expected) <= TOLERANCE + 1e-6:  # the tag has six digits; nan is outside too
        raise PipelineError(f"{compared}: not reproduced within {TOLERANCE}")
    served = folder / "results/export/serving/model.bin"
    same = served.exists() and sha256(served) == tags.get("weights_sha256")
    weights = "the same weights, bit for bit" if same else f"other weights, within {TOLERANCE}"
    return f"{compared}: reproduced, {weights}"


def _environment() -> dict[str, str]:
    """Ours without what would lead the folder's stages to our MLflow store or DVC project."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_", "GIT_"))
    }


def _run(*words: str, cwd: Path = Path(), stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, cwd=cwd, input=stdin, capture_output=True, env=_environment())


def _must(*words: str, cwd: Path = Path(), stdin: bytes = b"") -> str:
    """What the command prints. Raises PipelineError with its last words when it fails."""
    done = _run(*words, cwd=cwd, stdin=stdin)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise PipelineError(f"`{' '.join(words)}` in {cwd.resolve()}: {reason[0]}")
    return done.stdout.decode()
