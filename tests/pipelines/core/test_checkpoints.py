"""Training with a tiny encoder that is interrupted, killed, or runs out of disk space."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from types import ModuleType

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load_file, save_file

from pipelines.core.checkpoints import COMPLETE, Checkpoints, discard_obsolete, find_checkpoints, root
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
        train={
            "base": str(tiny_encoder),
            "epochs": 2,
            "batch_size": 4,
            "accumulation": 2,
            "checkpoint_seconds": 0,
        }
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
    (run,) = runs(untrained)
    assert run.info.status == "FINISHED"
    assert run.info.run_id == current_run(untrained)
    assert steps_with_loss(run) == [18, 20, 36]
    assert not list(untrained.folder.glob("var/checkpoints/*/*/optimizer.pt"))


def runs(project: Project) -> list[Run]:
    """Return the project's MLflow runs, newest first."""
    mlflow.set_tracking_uri(project.tracking_uri)
    experiment = MlflowClient().get_experiment_by_name("sentiment")
    assert experiment is not None
    return list(MlflowClient().search_runs([experiment.experiment_id]))


def current_run(project: Project) -> str:
    """Return the id of the run that the project's results come from."""
    return str(json.loads((project.folder / "results/train/run.json").read_text())["run_id"])


def steps_with_loss(run: Run) -> list[int]:
    return [metric.step for metric in MlflowClient().get_metric_history(run.info.run_id, "loss")]


@pytest.mark.process
def test_a_training_resumes_in_a_new_run_after_an_edit_that_leaves_its_weights_as_they_are(
    untrained: Project,
) -> None:
    with held_stage(untrained, "train", "PeriodicSave.on_save") as running:
        running.send(signal.SIGKILL)
    untrained.set_params(export={"windows": 2})
    done = untrained.run_module("train", env={"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.1"})
    assert "training continues in a new run" in done.stdout
    assert "resuming from checkpoint-1" in done.stdout
    newest, earlier = runs(untrained)
    assert earlier.info.status == "KILLED"
    assert earlier.data.tags["continued_in"] == newest.info.run_id == current_run(untrained)
    assert newest.info.status == "FINISHED"
    assert newest.data.params["export.windows"] == "2"
    assert steps_with_loss(newest) == [18, 20, 36]
    assert newest.data.metrics["system/cpu_utilization_percentage"] > 0


@pytest.mark.process
def test_a_training_that_is_killed_when_it_has_finished_is_not_repeated(untrained: Project) -> None:
    results = untrained.folder / "results/train"
    with held_stage(untrained, "train", "Checkpoints.finish") as running:
        before = {path: sha256(path) for path in results.rglob("*") if path.is_file()}
        running.send(signal.SIGKILL)
    done = untrained.run("dvc", "repro", "--single-item", "train")  # which first deletes the results
    assert "already trained: restoring checkpoint-36" in done.stdout
    assert {path: sha256(path) for path in results.rglob("*") if path.is_file()} == before
    (run,) = runs(untrained)
    assert run.info.status == "FINISHED"
    # Only a training of other params deletes what restores this one.
    untrained.set_params(train={"epochs": 1})
    (finished,) = untrained.folder.glob("var/checkpoints/*")
    untrained.run_module("train")
    (current,) = untrained.folder.glob("var/checkpoints/*")
    assert current != finished


@pytest.mark.process
def test_a_training_that_diverges_fails_its_run_and_names_the_way_out(
    untrained: Project, tiny_encoder: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(tiny_encoder, tmp_path / "broken")) / "model.safetensors"
    weights = load_file(broken)
    weights["distilbert.embeddings.word_embeddings.weight"][:] = float("nan")
    save_file(weights, broken, {"format": "pt"})
    untrained.set_params(train={"base": str(broken.parent)}, pretrain={"epochs": 1})
    for stage in ("pretrain", "train"):
        done = untrained.run_module(stage, check=False)
        assert done.returncode == 1
        assert re.search(rf"error: .* the gradient of step 1 .* Lower {stage}\.learning_rate, ", done.stderr)
        assert "Traceback" not in done.stderr
    (run,) = runs(untrained)
    assert run.info.status == "FAILED"


def test_obsolete_checkpoints_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of trainings that finished here or in a folder that is gone, and of those interrupted long ago."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))

    def trained(name: str, workspace: str = "") -> Checkpoints:
        made = Checkpoints(root() / name)
        made.at(1).mkdir(parents=True)
        (made.at(1) / COMPLETE).touch()
        if workspace:
            (tmp_path / workspace).mkdir(exist_ok=True)
            monkeypatch.chdir(tmp_path / workspace)
            made.finish()
        return made

    trained("finished elsewhere", "elsewhere")
    trained("finished in a temporary folder", "temporary").finish()
    trained("interrupted")
    os.utime(trained("interrupted long ago").folder, (0, 0))
    in_use, current = trained("in use", "here"), trained("current", "here")
    trained("finished here", "here")
    (tmp_path / "temporary").rmdir()
    with in_use.locked():
        discard_obsolete(current)
    assert {path.name for path in root().iterdir()} == {
        *("finished elsewhere", "interrupted", "in use", "current")
    }
    discard_obsolete()
    assert {path.name for path in root().iterdir()} == {"finished elsewhere", "interrupted"}


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
    shutil.rmtree(folder / "var/checkpoints")
    with held_stage(untrained, "pretrain", "PeriodicSave.on_save") as running:
        running.send(signal.SIGKILL)
    assert "resuming from checkpoint-" in untrained.run_module("pretrain").stdout
    assert [sha256(file) for file in files] == uninterrupted
    (finished,) = folder.glob("var/checkpoints/*")
    # `train` does not change the word embeddings, because they are frozen.
    untrained.run_module("train")
    assert not finished.exists()
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
