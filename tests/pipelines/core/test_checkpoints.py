"""Training that is killed, interrupted, or left without a disk: on the project of `trained`, in a copy."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
from tests.project import Project

PATIENCE = 240  # seconds for a step that takes five on a machine of one's own


@pytest.fixture
def untrained(trained: Project, tmp_path: Path) -> Project:
    """The project as before `train` ran, saving whenever it can."""
    folder = tmp_path / "project"
    shutil.copytree(trained.folder, folder, ignore=shutil.ignore_patterns("var", "train"))
    (folder / "results/train").mkdir()
    project = Project(folder)
    project.set_params(train={"checkpoint_seconds": 0})
    return project


@contextlib.contextmanager
def training(project: Project, stage: str = "train") -> Iterator[subprocess.Popen[str]]:
    """The stage, at work."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with subprocess.Popen(
        [sys.executable, "-m", f"pipelines.{stage}"],
        cwd=project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell may have us ignore Ctrl-C, which a child would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(project: Project, pattern: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not list(project.folder.glob(pattern)):
        assert time.monotonic() < give_up, pattern
        time.sleep(0.02)


def test_killed_and_interrupted_it_ends_as_if_it_had_not_been(trained: Project, untrained: Project) -> None:
    with training(untrained) as process:
        wait_for(untrained, "var/checkpoints/*/run.json")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
    assert output.splitlines()[-1].startswith("interrupted: run the same command again"), output
    assert "Traceback" not in output
    with training(untrained) as process:
        wait_for(untrained, f"var/checkpoints/*/checkpoint-*/{COMPLETE}")
        process.send_signal(signal.SIGKILL)
        process.wait()
    newest = max(path.parent.name for path in untrained.folder.glob(f"var/checkpoints/*/*/{COMPLETE}"))
    ended = untrained.run("dvc", "repro", "train")
    assert f"resuming from {newest}\n" in ended.stdout
    for name in ("history.csv", "model/model.safetensors"):
        paths = [project.folder / "results/train" / name for project in (trained, untrained)]
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


def test_pretraining_that_is_killed_goes_on_and_training_begins_with_what_it_learnt(
    trained: Project, untrained: Project
) -> None:
    untrained.set_params(pretrain={"epochs": 2, "batch_tokens": 1024}, train={"freeze_embeddings": True})
    files = [untrained.folder / "results/pretrain" / name for name in ("encoder.safetensors", "history.csv")]
    assert not load_file(files[0])
    untrained.run("python", "-m", "pipelines.pretrain")
    unbroken = [sha256(file) for file in files]
    with training(untrained, "pretrain") as process:
        wait_for(untrained, f"var/checkpoints/*/checkpoint-*/{COMPLETE}")
        process.send_signal(signal.SIGKILL)
        process.wait()
    ended = untrained.run("dvc", "repro", "train")
    assert "resuming from checkpoint-" in ended.stdout
    assert [sha256(file) for file in files] == unbroken
    # The word embeddings, which do not learn in `train`, are those that it began with.
    name = "embeddings.word_embeddings.weight"
    learnt = load_file(files[0])[name]
    weights = [
        load_file(project.folder / "results/train/model/model.safetensors")[f"distilbert.{name}"]
        for project in (untrained, trained)
    ]
    assert torch.equal(weights[0], learnt)
    assert not torch.equal(weights[1], learnt)


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
