"""Training that is killed, interrupted, or left without a disk; with a tiny encoder."""

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
from tests.pipelines.processes import held_stage, run_stage
from tests.project import Project, make_project


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory, reviews: Path, tiny_encoder: Path, empty_store: Path
) -> Project:
    """A project before `train`, of few reviews and a tiny encoder, that saves whenever it can."""
    project = make_project(tmp_path_factory.mktemp("prepared"), reviews, count=200)
    project.set_params(
        train={"base": str(tiny_encoder), "epochs": 1, "batch_size": 4, "checkpoint_seconds": 0}
    )
    (project.folder / "var").mkdir(exist_ok=True)
    shutil.copy(empty_store, project.folder / "var" / "mlflow.db")
    run_stage(project.folder, "prepare")
    run_stage(project.folder, "pretrain")
    return project


@pytest.fixture
def untrained(prepared: Project, tmp_path: Path) -> Project:
    shutil.copytree(prepared.folder, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.mark.process
def test_killed_and_interrupted_it_ends_as_if_it_had_not_been(
    prepared: Project, untrained: Project, tmp_path: Path
) -> None:
    shutil.copytree(prepared.folder, tmp_path / "unbroken")
    unbroken = Project(tmp_path / "unbroken")
    run_stage(unbroken.folder, "train")
    with held_stage(untrained.folder, "train", "Checkpoints.belong_to") as running:
        running.send(signal.SIGINT)
    assert running.output.splitlines()[-1].startswith("interrupted: run the same command again")
    assert "Traceback" not in running.output
    with held_stage(untrained.folder, "train", "SaveInTime.on_save") as running:
        running.send(signal.SIGKILL)
    newest = max(path.parent.name for path in untrained.folder.glob(f"var/checkpoints/*/*/{COMPLETE}"))
    ended = untrained.run("dvc", "repro", "--single-item", "train")
    assert f"resuming from {newest}\n" in ended.stdout
    for name in ("history.csv", "model/model.safetensors"):
        paths = [project.folder / "results/train" / name for project in (unbroken, untrained)]
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
def test_pretraining_that_is_killed_goes_on_and_training_begins_with_what_it_learnt(
    untrained: Project, tiny_encoder: Path
) -> None:
    untrained.set_params(pretrain={"epochs": 2, "batch_tokens": 1024}, train={"freeze_embeddings": True})
    folder = untrained.folder
    files = [folder / "results/pretrain" / name for name in ("encoder.safetensors", "history.csv")]
    assert not load_file(files[0])
    run_stage(folder, "pretrain")
    unbroken = [sha256(file) for file in files]
    with held_stage(folder, "pretrain", "SaveInTime.on_save") as running:
        running.send(signal.SIGKILL)
    assert "resuming from checkpoint-" in run_stage(folder, "pretrain").stdout
    assert [sha256(file) for file in files] == unbroken
    # The word embeddings, which do not learn in `train`, are those that it began with.
    run_stage(folder, "train")
    name = "embeddings.word_embeddings.weight"
    learnt = load_file(files[0])[name]
    used = load_file(folder / "results/train/model/model.safetensors")[f"distilbert.{name}"]
    assert torch.equal(used, learnt)
    assert not torch.equal(load_file(tiny_encoder / "model.safetensors")[f"distilbert.{name}"], learnt)


def test_half_a_checkpoint_is_none_and_older_ones_go(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    assert kept.keep_newest() is None
    for step in (80, 100, 120):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (80, 100):
        (tmp_path / f"checkpoint-{step}" / COMPLETE).touch()
    assert kept.keep_newest() == tmp_path / "checkpoint-100"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-100"]


def test_two_at_once_do_not_train_the_same(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "training")
    with kept.locked(), pytest.raises(PipelineError, match="another process is running"), kept.locked():
        pass


def test_another_param_weight_file_or_line_of_code_is_another_training(tmp_path: Path) -> None:
    data, code = tmp_path / "train.csv", tmp_path / "layers"
    data.write_text("a\n")
    code.mkdir()
    (code / "linear.py").write_text("width = 2\n")
    package = ModuleType("layers")
    package.__path__ = [str(code)]
    layer = torch.nn.Linear(2, 2)

    def place(epochs: int = 1, model: torch.nn.Module = layer) -> Path:
        return find_checkpoints({"epochs": epochs}, model, [data], [package]).folder

    found = [place(), place()]
    assert found[0] == found[1]
    found += [place(epochs=2), place(model=torch.nn.Linear(2, 2))]
    data.write_text("b\n")
    found.append(place())
    (code / "linear.py").write_text("width = 3\n")
    found.append(place())
    assert len(set(found)) == 5


@pytest.mark.process
def test_a_full_disk_is_named_with_what_is_needed_and_what_is_kept(tmp_path: Path) -> None:
    """On a real file system of 8 MiB, which only root may mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system of its own needs root")
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


def test_too_little_room_is_said_before_training(tmp_path: Path) -> None:
    huge = torch.nn.Linear(10**8, 10**6, device="meta")  # 1.2 petabytes in a checkpoint
    began = False
    with (
        pytest.raises(PipelineError, match="no checkpoint was saved yet"),
        Checkpoints(tmp_path).disk_space_for(huge),
    ):
        began = True
    assert not began


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="shapes"),
        Checkpoints(tmp_path).disk_space_for(torch.nn.Linear(1, 1)),
    ):
        raise RuntimeError("shapes do not fit")
