"""The origin of a registered version: its code, data, params and run."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.api
import mlflow
import yaml
from dvc.exceptions import DvcException
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from scmrepo.exceptions import SCMError

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256
from pipelines.lineage.kept_files import CHANGED, folder
from pipelines.lineage.uncommitted import split

MODEL = "sentiment"
NEEDED = ("git_sha", "git_dirty", "patch_sha256", "data_md5", "params_sha256", "accuracy")


@dataclass(frozen=True)
class VersionOrigin:
    """A version's run, the tags of both, and the files that the tags identify by hash."""

    version: str
    run_id: str
    tags: Mapping[str, str]
    params: bytes
    patch: bytes

    @property
    def accuracy(self) -> float:
        return float(self.tags["accuracy"])


def origin(client: MlflowClient, number: str) -> VersionOrigin:
    """Return the version's origin. Raises PipelineError if the version or its lineage is missing."""
    try:
        version = client.get_model_version(MODEL, number)
    except MlflowException:
        known = sorted(int(one.version) for one in client.search_model_versions(f"name = '{MODEL}'"))
        there = ", ".join(map(str, known)) or "none; run `dvc repro`"
        raise PipelineError(f"{MODEL} has no version {number}; existing versions: {there}") from None
    run_id = version.run_id
    missing = [tag for tag in NEEDED if tag not in version.tags]
    if missing or not run_id:
        raise PipelineError(
            f"version {number} has no {', '.join(missing) or 'run'}: it was registered manually or by an"
            " earlier release. Run `dvc repro --force` to register a version that can be restored."
        )
    patch_sha256 = version.tags["patch_sha256"]
    return VersionOrigin(
        str(version.version),
        run_id,
        client.get_run(run_id).data.tags | version.tags,
        kept(run_id, "params.yaml", version.tags["params_sha256"]),
        b"" if patch_sha256 == "none" else kept(run_id, "uncommitted.patch", patch_sha256),
    )


def kept(run_id: str, name: str, expected: str) -> bytes:
    """Return a file that `kept_files` logged to the run. Raises PipelineError if it is missing or differs."""
    path = f"{folder(expected)}/{name}"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            file = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=scratch)
        except (MlflowException, OSError):
            raise PipelineError(
                f"run {run_id} has no artifact {path} in {mlflow.get_tracking_uri()}: was it deleted?"
            ) from None
        if sha256(Path(file)) != expected:
            raise PipelineError(f"artifact {path} of run {run_id} does not match the version's sha256")
        return Path(file).read_bytes()


def describe(client: MlflowClient, found: VersionOrigin) -> Iterator[str]:
    """Yield the lines that describe the version's origin."""
    tags = found.tags
    left_out, changes = split(found.patch)
    dirty = " and uncommitted changes, stored with the run" if changes else ""
    yield f"{MODEL} version {found.version}, accuracy {found.accuracy:.4f}"
    yield f"code        commit {tags['git_sha']}{dirty}"
    if changed := tags.get(CHANGED):
        yield f"            {changed} changed during the training: export may have used the later state"
    for file in left_out:
        yield f"            not stored: {file}: binary or too large"
    yield f"data        md5 {tags['data_md5']} (split sha256 {tags.get('split_sha256', 'unknown')})"
    for i, section in enumerate(yaml.safe_load(found.params).items()):
        yield f"{'' if i else 'params':12}{line(*section)}"
    yield f"packages    constraints.txt with sha256 {tags.get('constraints_sha256', 'unknown')}"
    trained_on = [tags.get(name, "unknown") for name in ("processor", "threads", "gpu")]
    yield f"hardware    processor {trained_on[0]}, {trained_on[1]} threads, GPU {trained_on[2]}"
    yield f"experiment  {tags.get('dvc_experiment', 'none')} of DVC"
    yield f"run         {address(client, found.run_id)}"


def line(name: str, value: Any) -> str:
    """Return a section of params.yaml as one line."""
    return yaml.safe_dump({name: value}, default_flow_style=True, width=10_000, sort_keys=False).strip()[1:-1]


def address(client: MlflowClient, run_id: str) -> str:
    """Return the URL of the run if MLflow is a server, else its name and id."""
    info = client.get_run(run_id).info
    uri = client.tracking_uri.rstrip("/")
    page = f"{uri}/#/experiments/{info.experiment_id}/runs/{run_id}"
    return page if uri.startswith("http") else f"{info.run_name} ({run_id}) of MLflow"


def run_of(experiment: str) -> str:
    """Return the id of the MLflow run of a DVC experiment or commit. Raises PipelineError if unknown."""
    try:
        return str(json.loads(dvc.api.read("results/train/run.json", rev=experiment))["run_id"])
    except (DvcException, SCMError, OSError) as error:
        raise PipelineError(
            f"DVC has no results of {experiment!r} ({str(error).splitlines()[0]}): see `dvc exp show`"
        ) from None
