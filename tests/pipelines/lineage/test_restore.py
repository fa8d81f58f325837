"""Restoring a small project with real git and DVC, without a training."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256
from pipelines.lineage.restore import TOLERANCE, check, differences, restore
from pipelines.lineage.tags import snapshot
from pipelines.lineage.uncommitted import FILE_BYTES, LISTED, TOTAL_BYTES, split
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
    tags, before = snapshot().tags, files(project.folder)
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
    tags = snapshot().tags
    restore(tmp_path / "restored", tags, PARAMS, b"")
    with pytest.raises(PipelineError, match=r"has no results yet: cd .* && dvc repro"):
        check(tmp_path / "restored", tags | {"accuracy": "0.9"}, {})


def test_uncommitted_changes_are_restored(project: Project, tmp_path: Path) -> None:
    folder = project.folder
    (folder / "changed.py").write_text("changed\n")
    (folder / "changed.py").chmod(0o755)
    (folder / "deleted.py").unlink()
    (folder / "new folder").mkdir()
    (folder / "new folder" / "é.py").write_bytes(bytes(range(1, 256)) * 9)
    (folder / "link").symlink_to("changed.py")
    (folder / "staged.py").write_text("no newline at the end")
    (folder / "dvc.lock").write_text("of the run\n")
    project.run("git", "add", "staged.py")
    project.run("git", "config", "diff.noprefix", "true")
    status = project.run("git", "status", "--porcelain").stdout
    taken, before = snapshot(), files(folder)
    assert project.run("git", "status", "--porcelain").stdout == status
    restore(tmp_path / "restored", taken.tags, PARAMS, taken.patch)
    assert split(taken.patch)[0] == []
    del before["dvc.lock"]
    assert files(tmp_path / "restored") == before | {"params.yaml": PARAMS}
    assert (tmp_path / "restored" / "changed.py").stat().st_mode & 0o100


def test_untracked_files_that_are_no_code_are_listed_but_not_stored(project: Project, tmp_path: Path) -> None:
    folder = project.folder
    (folder / ".git" / "info" / "exclude").write_text("ignored.py\n")
    (folder / "ignored.py").write_text("secret\n")
    (folder / "archive.zip").write_bytes(b"PK\0" * 3_000_000)
    (folder / "large.csv").write_text("x" * (FILE_BYTES + 1))
    (folder / "small.py").write_text("small\n")
    project.run("git", "init", "--quiet", "nested")
    (folder / "nested" / "file.py").touch()
    first = snapshot()
    left_out, changes = split(first.patch)
    assert [line.partition(" ")[0] for line in left_out] == ["archive.zip", "large.csv", "nested/"]
    assert f"(9,000,000 bytes, sha256 {sha256(folder / 'archive.zip')[:12]})" in left_out[0]
    assert changes.count(b"diff --git") == 1
    assert len(first.patch) < 1000
    restore(tmp_path / "restored", first.tags, PARAMS, first.patch)
    assert (tmp_path / "restored" / "small.py").read_text() == "small\n"
    # The hash identifies the files that are not stored, too.
    (folder / "archive.zip").write_bytes(b"PK\1" * 3_000_000)
    (folder / "small.py").unlink()
    second = snapshot()
    assert second.tags["patch_sha256"] != first.tags["patch_sha256"]
    assert split(second.patch) == (["archive.zip" + split(second.patch)[0][0][11:], *left_out[1:]], b"")
    restore(tmp_path / "again", second.tags, PARAMS, second.patch)


def test_many_untracked_files_do_not_make_a_large_patch(project: Project) -> None:
    for number in range(LISTED + 5):
        (project.folder / f"image {number}.png").write_bytes(b"\0")
    for number in range(TOTAL_BYTES // FILE_BYTES + 1):
        (project.folder / f"text {number:02}.csv").write_text("x" * FILE_BYTES)
    left_out, changes = split(snapshot().patch)
    assert changes.count(b"diff --git") == TOTAL_BYTES // FILE_BYTES
    assert len(left_out) == LISTED + 1
    assert left_out[-1].startswith("6 files, sha256 of their list ")


def test_a_restore_that_is_impossible_is_an_error_with_the_reason(project: Project, tmp_path: Path) -> None:
    tags = snapshot().tags
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
    tags |= {"processor": "Z80", "threads": "2"}
    here = {"processor": "6502", "threads": "2", "gpu": "none"}
    if "not" in message:
        with pytest.raises(PipelineError, match=rf"{message}.* \(here: processor 6502 instead of Z80\)"):
            check(tmp_path, tags, here)
    else:
        found = check(tmp_path, tags, here)
        assert message in found
        assert found.endswith("(here: processor 6502 instead of Z80)")
    assert differences(tags, here | {"processor": "Z80"}) == ""


def test_a_check_without_results_names_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="dvc repro"):
        check(tmp_path, {"accuracy": "0.8"}, {})
