"""Files stored with a run because its tags identify them only by hash: params.yaml, uncommitted changes."""

import sys
import tempfile
from pathlib import Path

import mlflow

from pipelines.lineage.tags import Snapshot, snapshot

# Tags that are equal if and only if code, data and params are.
IDENTITY = ("git_sha", "patch_sha256", "data_md5", "params_sha256")
CHANGED = "changed_while_training"


def folder(sha256: str) -> str:
    """Return the artifact folder of the file with this hash; `export` may add files with other hashes."""
    return f"lineage/{sha256[:12]}"


def keep(kept: Snapshot) -> None:
    """Log params.yaml and the uncommitted changes, if any, to the open run."""
    mlflow.log_artifact("params.yaml", folder(kept.tags["params_sha256"]))
    if not kept.patch:
        return
    with tempfile.TemporaryDirectory() as scratch:
        patch = Path(scratch) / "uncommitted.patch"
        patch.write_bytes(kept.patch)
        mlflow.log_artifact(str(patch), folder(kept.tags["patch_sha256"]))


def note_changes(before: Snapshot) -> None:
    """Tag the open run if code, data or params changed during the training.

    The training used the state `before` it, which Python had already loaded. DVC cannot detect the change,
    because it hashes a stage's dependencies after the stage has run.
    """
    now = snapshot()
    if changed := [name for name in IDENTITY if now.tags[name] != before.tags[name]]:
        mlflow.set_tag(CHANGED, ", ".join(changed))
        print(f"warning: {', '.join(changed)} changed during the training", file=sys.stderr)


def renew(run: mlflow.ActiveRun) -> None:
    """Tag the open run with the current state, from which `export` logs the model.

    `export` may rerun alone after a commit or a change of params.yaml. DVC then found the dependencies of
    `train` unchanged, so the current state describes both stages.
    """
    if CHANGED in run.data.tags:
        return
    now = snapshot()
    mlflow.set_tags(now.tags)
    keep(now)
