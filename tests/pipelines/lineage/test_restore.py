"""Restoring a small project with real git and DVC, without a training."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256
from pipelines.lineage.restore import TOLERANCE, check, restore
from pipelines.lineage.tags import state, uncommitted
from tests.project import Project

pytestmark = pytest.mark.process

PARAMS = b"seed: 7 # of the run\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    for name in ("kept.py", "changed.py", "deleted.py", "params.yaml", "data/reviews.csv"):
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).write_text(f"{name}\n")
    project.run("dvc", "add", "--quiet", "data")
    project.commit("all")
    monkeypatch.chdir(project.folder)
    return project


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file except those of git and DVC."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".git", ".dvc"} & set(path.relative_to(folder).parts)
    }


def test_a_clean_commit_is_restored_after_later_changes(project: Project, tmp_path: Path) -> None:
    tags, before = state(), files(project.folder)
    (project.folder / "changed.py").write_text("later\n")
    (project.folder / "data" / "reviews.csv").write_text("later\n")
    project.run("dvc", "add", "--quiet", "data")
    project.commit("later")
    restore(tmp_path / "restored", tags, PARAMS, b"")
    assert files(tmp_path / "restored") == before | {"params.yaml": PARAMS}


def test_results_in_git_do_not_count_as_reproduced(project: Project, tmp_path: Path) -> None:
    metrics = project.folder / "results" / "evaluate" / "metrics.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text('{"accuracy": 0.9}')
    project.commit("the metrics")
    tags = state()
    restore(tmp_path / "restored", tags, PARAMS, b"")
    with pytest.raises(PipelineError, match=r"has no results yet: cd .* && dvc repro"):
        check(tmp_path / "restored", tags | {"accuracy": "0.9"})


def test_uncommitted_changes_are_restored(project: Project, tmp_path: Path) -> None:
    folder = project.folder
    (folder / "changed.py").write_text("changed\n")
    (folder / "changed.py").chmod(0o755)
    (folder / "deleted.py").unlink()
    (folder / "new folder").mkdir()
    (folder / "new folder" / "é.bin").write_bytes(bytes(range(256)) * 9)
    (folder / "staged.py").write_text("no newline at the end")
    (folder / "dvc.lock").write_text("of the run\n")
    project.run("git", "add", "staged.py")
    project.run("git", "config", "diff.noprefix", "true")
    status = project.run("git", "status", "--porcelain").stdout
    tags, patch, before = state(), uncommitted(), files(folder)
    assert project.run("git", "status", "--porcelain").stdout == status
    restore(tmp_path / "restored", tags, PARAMS, patch)
    del before["dvc.lock"]
    assert files(tmp_path / "restored") == before | {"params.yaml": PARAMS}
    assert (tmp_path / "restored" / "changed.py").stat().st_mode & 0o100


def test_a_restore_that_is_impossible_is_an_error_with_the_reason(project: Project, tmp_path: Path) -> None:
    tags = state()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(PipelineError, match="not empty: choose a new folder"):
        restore(tmp_path / "full", tags, PARAMS, b"")
    with pytest.raises(PipelineError, match="`git fetch` a branch"):
        restore(tmp_path / "a", tags | {"git_sha": "0" * 40}, PARAMS, b"")
    with pytest.raises(PipelineError, match=f"pins {tags['data_md5']}, but the version was trained on abc"):
        restore(tmp_path / "b", tags | {"data_md5": "abc"}, PARAMS, b"")
    shutil.rmtree(project.folder / ".dvc" / "cache")
    with pytest.raises(PipelineError, match=r"complete except for its data.*pipelines\.ingest.*dvc add data"):
        restore(tmp_path / "c", tags, PARAMS, b"")
    assert (tmp_path / "c" / "params.yaml").read_bytes() == PARAMS


@pytest.mark.parametrize(
    ("reached", "message"),
    [
        (0.8, "reproduced, the same weights, bit for bit"),
        (0.8 - TOLERANCE, "reproduced, other weights"),
        (0.8 + TOLERANCE + 0.0001, "not reproduced"),
        (float("nan"), "not reproduced"),
    ],
)
def test_an_accuracy_is_reproduced_within_the_tolerance(tmp_path: Path, reached: float, message: str) -> None:
    served = tmp_path / "results/export/serving/model.bin"
    served.parent.mkdir(parents=True)
    served.write_bytes(b"weights" if reached == 0.8 else b"others")
    metrics = tmp_path / "results/evaluate/metrics.json"
    metrics.parent.mkdir()
    metrics.write_text(json.dumps({"accuracy": reached}))
    (tmp_path / "weights").write_bytes(b"weights")
    tags = {"accuracy": "0.800000", "weights_sha256": sha256(tmp_path / "weights")}
    if "not" in message:
        with pytest.raises(PipelineError, match=message):
            check(tmp_path, tags)
    else:
        assert message in check(tmp_path, tags)


def test_a_check_without_results_names_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="dvc repro"):
        check(tmp_path, {"accuracy": "0.8"})
