"""What a run's tags name by hash alone, kept with the run: params.yaml and what git had not committed."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import mlflow

from pipelines.lineage.tags import state, uncommitted

# The tags that two states of the folder share when the same code, data and params are in it.
IDENTITY = ("git_sha", "patch_sha256", "data_md5", "params_sha256")
CHANGED = "changed_while_training"


def folder(sha256: str) -> str:
    """Where among a run's artifacts the file with this hash is; by hash, as `export` may add others."""
    return f"lineage/{sha256[:12]}"


def keep(tags: Mapping[str, str]) -> None:
    """Log to the open run the params.yaml that runs and, when there is one, the uncommitted patch."""
    mlflow.log_artifact("params.yaml", folder(tags["params_sha256"]))
    if tags["patch_sha256"] == "none":
        return
    with tempfile.TemporaryDirectory() as scratch:
        patch = Path(scratch) / "uncommitted.patch"
        patch.write_bytes(uncommitted())
        mlflow.log_artifact(str(patch), folder(tags["patch_sha256"]))


def note_changes(tags: Mapping[str, str]) -> None:
    """Tag the open run when the folder is no longer what it was as the training began.

    Python had read the code by then, so `tags` stay the truth; DVC hashes what a stage depends on after
    it has run, and would not know.
    """
    now = state()
    if changed := [name for name in IDENTITY if now[name] != tags[name]]:
        mlflow.set_tag(CHANGED, ", ".join(changed))
        print(f"warning: {', '.join(changed)} changed while this trained", file=sys.stderr)


def renew(run: mlflow.ActiveRun) -> None:
    """Tag the open run with the state of now: the model that it logs next comes from that.

    Another params.yaml or commit may run `export` alone. DVC then found what `train` depends on
    unchanged, so the one state accounts for both stages.
    """
    if CHANGED in run.data.tags:
        return
    tags = state()
    mlflow.set_tags(tags)
    keep(tags)
