"""Files stored with a run because its tags identify them only by hash: params.yaml, uncommitted changes."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import mlflow

from pipelines.lineage.tags import state, uncommitted

# Tags that are equal if and only if code, data and params are.
IDENTITY = ("git_sha", "patch_sha256", "data_md5", "params_sha256")
CHANGED = "changed_while_training"


def folder(sha256: str) -> str:
    """Return the artifact folder of the file with this hash; `export` may add files with other hashes."""
    return f"lineage/{sha256[:12]}"


def keep(tags: Mapping[str, str]) -> None:
    """Log params.yaml and the uncommitted changes, if any, to the open run."""
    mlflow.log_artifact("params.yaml", folder(tags["params_sha256"]))
    if tags["patch_sha256"] == "none":
        return
    with tempfile.TemporaryDirectory() as scratch:
        patch = Path(scratch) / "uncommitted.patch"
        patch.write_bytes(uncommitted())
        mlflow.log_artifact(str(patch), folder(tags["patch_sha256"]))


def note_changes(tags: Mapping[str, str]) -> None:
    """Tag the open run if code, data or params changed during the training.

    The training used the state in `tags`, which Python had already loaded. DVC cannot detect the change,
    because it hashes a stage's dependencies after the stage has run.
    """
    now = state()
    if changed := [name for name in IDENTITY if now[name] != tags[name]]:
        mlflow.set_tag(CHANGED, ", ".join(changed))
        print(f"warning: {', '.join(changed)} changed during the training", file=sys.stderr)


def renew(run: mlflow.ActiveRun) -> None:
    """Tag the open run with the current state, from which `export` logs the model.

    `export` may rerun alone after a commit or a change of params.yaml. DVC then found the dependencies of
    `train` unchanged, so the current state describes both stages.
    """
    if CHANGED in run.data.tags:
        return
    tags = state()
    mlflow.set_tags(tags)
    keep(tags)
