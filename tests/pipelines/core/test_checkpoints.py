"""Training with a tiny encoder that is interrupted, killed, or runs out of disk space."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from types import ModuleType

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from pipelines.core.checkpoints import COMPLETE, Checkpoints, find_checkpoints
from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256
from tests.pipelines.processes import held_stage
from tests.project import Project, make_project


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory, reviews: Path, tiny_encoder: Path, empty_store: Path
) -> Project:
    """A small project before `train` that saves a checkpoint at every step."""
    project = make_project(tmp_path_factory.mktemp("prepared"), reviews, count=200)
    project.set_params(
        train={"base": str(tiny_encoder), "epochs": 1, "batch_size": 4, "checkpoint_seconds": 0}
    )
    (project.folder / "var").mkdir(exist_ok=True)
    shutil.copy(empty_store, project.folder / "var" / "mlflow.db")
    project.run_module("prepare")
    project.run_module("pretrain")
    return project


@pytest.fixture
def untrained(prepared: Project, tmp_path: Path) -> Project:
    shutil.copytree(prepared.folder, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.mark.process
def test_an_interrupted_and_killed_training_has_the_same_result(
    prepared: Project, untrained: Project, tmp_path: Path
) -> None:
    shutil.copytree(prepared.folder, tmp_path / "uninterrupted")
    uninterrupted = Project(tmp_path / "uninterrupted")
    uninterrupted.run_module("train")
    with held_stage(untrained, "train", "Checkpoints.record_run") as running:
        running.send(signal.SIGINT)
    assert running.output.splitlines()[-1].startswith("interrupted: run the same command again")
    assert "Traceback" not in running.output
    with held_stage(untrained, "train", "PeriodicSave.on_save") as running:
        running.send(signal.SIGKILL)
    newest = max(path.parent.name for path in untrained.folder.glob(f"var/checkpoints/*/*/{COMPLETE}"))
    done = untrained.run("dvc", "repro", "--single-item", "train")
    assert f"resuming from {newest}\n" in done.stdout
    for name in ("history.csv", "model/model.safetensors"):
        paths = [project.folder / "results/train" / name for project in (uninterrupted, untrained)]
        assert sha256(paths[0]) == sha256(paths[1]), name
    mlflow.set_tracking_uri(untrained.tracking_uri)
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("sentiment").experiment_id])  # type: ignore[union-attr]
    assert run.info.status == "FINISHED"
    assert run.info.run_id == json.loads((untrained.folder / "results/train/run.json").read_text())["run_id"]
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")]
    assert steps == sorted(set(steps))
    assert len(steps) == 2
    assert not list(untrained.folder.glob("var/checkpoints/*"))


@pytest.mark.process
def test_killed_pretraining_resumes_and_training_starts_from_its_weights(
    untrained: Project, tiny_encoder: Path
) -> None:
    untrained.set_params(pretrain={"epochs": 2, "batch_tokens": 1024}, train={"freeze_embeddings": True})
    folder = untrained.folder
    files = [folder / "results/pretrain" / name for name in ("encoder.safetensors", "history.csv")]
    assert not load_file(files[0])
    untrained.run_module("pretrain")
    uninterrupted = [sha256(file) for file in files]
    with held_stage(untrained, "pretrain", "PeriodicSave.on_save") as running:
        running.send(signal.SIGKILL)
    assert "resuming from checkpoint-" in untrained.run_module("pretrain").stdout
    assert [sha256(file) for file in files] == uninterrupted
    # `train` does not change the word embeddings, because they are frozen.
    untrained.run_module("train")
    name = "embeddings.word_embeddings.weight"
    pretrained = load_file(files[0])[name]
    used = load_file(folder / "results/train/model/model.safetensors")[f"distilbert.{name}"]
    assert torch.equal(used, pretrained)
    assert not torch.equal(load_file(tiny_encoder / "model.safetensors")[f"distilbert.{name}"], pretrained)


def test_only_the_newest_complete_checkpoint_is_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    assert kept.keep_newest() is None
    for step in (80, 100, 120):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (80, 100):
        (tmp_path / f"checkpoint-{step}" / COMPLETE).touch()
    assert kept.keep_newest() == tmp_path / "checkpoint-100"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-100"]


def test_two_processes_cannot_run_the_same_training(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "training")
    with kept.locked(), pytest.raises(PipelineError, match="another process is running"), kept.locked():
        pass


def test_other_params_weights_data_or_code_have_other_checkpoints(tmp_path: Path) -> None:
    data, code = tmp_path / "train.csv", tmp_path / "layers"
    data.write_text("a\n")
    code.mkdir()
    (code / "linear.py").write_text("width = 2\n")
    package = ModuleType("layers")
    package.__path__ = [str(code)]
    layer = torch.nn.Linear(2, 2)

    def folder(epochs: int = 1, model: torch.nn.Module = layer) -> Path:
        return find_checkpoints({"epochs": epochs}, model, [data], [package]).folder

    found = [folder(), folder()]
    assert found[0] == found[1]
    found += [folder(epochs=2), folder(model=torch.nn.Linear(2, 2))]
    data.write_text("b\n")
    found.append(folder())
    (code / "linear.py").write_text("width = 3\n")
    found.append(folder())
    assert len(set(found)) == 5


@pytest.mark.process
def test_a_full_disk_is_an_error_with_the_space_needed_and_the_last_checkpoint(tmp_path: Path) -> None:
    """On a real file system of 8 MiB, which only root may mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    try:
        kept = Checkpoints(disk / "training")
        newest = kept.folder / "checkpoint-20"
        newest.mkdir(parents=True)
        (newest / COMPLETE).touch()
        model = torch.nn.Linear(500, 500)  # 1 MB, and 3 MB in a checkpoint
        half = kept.folder / "checkpoint-40"
        half.mkdir()
        full = r"MiB free, but a checkpoint needs 2 MiB: .*resumes from checkpoint-20"
        with pytest.raises(PipelineError, match=full), kept.disk_space_for(model):
            torch.save(torch.zeros(9_000_000), half / "optimizer.pt")
        assert newest.exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_too_little_disk_space_is_an_error_before_the_training(tmp_path: Path) -> None:
    huge = torch.nn.Linear(10**8, 10**6, device="meta")  # 1.2 petabytes in a checkpoint
    began = False
    with (
        pytest.raises(PipelineError, match="no checkpoint was saved yet"),
        Checkpoints(tmp_path).disk_space_for(huge),
    ):
        began = True
    assert not began


def test_other_errors_are_not_converted(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="shapes"),
        Checkpoints(tmp_path).disk_space_for(torch.nn.Linear(1, 1)),
    ):
        raise RuntimeError("shapes do not fit")
