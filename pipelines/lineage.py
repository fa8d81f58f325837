"""Where a run comes from: code, data, params. The same tags go to the run and to the registered version."""

import os
import subprocess
from pathlib import Path

import yaml

from pipelines.assets import sha256
from pipelines.errors import PipelineError

# What a pipeline run itself rewrites says nothing about the code that ran.
_WRITTEN_BY_DVC = ":!dvc.lock"


def lineage(split: Path) -> dict[str, str]:
    """Tags naming the code, the data, the split and the params of what runs now.

    `split` is the validation file: two accuracies compare only when it is the same.
    """
    return {
        "git_sha": _git("rev-parse", "HEAD") or "none",
        "git_dirty": str(bool(_git("status", "--porcelain", "--", ".", _WRITTEN_BY_DVC))).lower(),
        "data_md5": data_md5(),
        "split_sha256": sha256(split),
        "params_sha256": sha256(Path("params.yaml")),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", "none"),
    }


def data_md5(pointer: Path = Path("data.dvc")) -> str:
    """The md5 of data/ that DVC pins in data.dvc."""
    try:
        return str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"])
    except FileNotFoundError:
        raise PipelineError(f"{pointer} is missing: run `make ingest`, then `dvc add data`") from None


def _git(*words: str) -> str:
    """What git prints, or nothing where there is no git checkout (an unpacked archive, a container)."""
    run = subprocess.run(["git", *words], capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""
