from pathlib import Path

import pytest

from pipelines.core.errors import PipelineError
from pipelines.lineage.tags import data_md5, snapshot
from tests.project import Project

pytestmark = pytest.mark.process


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(tmp_path)
    for name, text in {
        "constraints.txt": "torch==2.13.0\n",
        "params.yaml": "seed: 1\n",
        "data.dvc": "outs:\n- md5: abc.dir\n",
        "dvc.lock": "1\n",
        "results/train/history.csv": "step,loss\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    project.run("git", "init", "--quiet")
    project.commit("all")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    return project


def test_the_tags_identify_code_data_params_and_experiment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot().tags
    assert before["git_sha"] == project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert before["git_dirty"] == "false"
    assert before["data_md5"] == "abc.dir"
    assert before["dvc_experiment"] == "none"
    assert before["patch_sha256"] == "none"
    (project.folder / "params.yaml").write_text("seed: 2\n")
    (project.folder / "constraints.txt").write_text("torch==2.14.0\n")
    monkeypatch.setenv("DVC_EXP_NAME", "pale-moon")
    after = snapshot().tags
    assert after["git_dirty"] == "true"
    assert after["dvc_experiment"] == "pale-moon"
    assert after["patch_sha256"] != "none"
    assert after["params_sha256"] != before["params_sha256"]
    assert after["constraints_sha256"] != before["constraints_sha256"]


def test_files_written_by_the_pipeline_are_not_uncommitted_changes(project: Project) -> None:
    (project.folder / "dvc.lock").write_text("2\n")
    (project.folder / "results/train/history.csv").write_text("step,loss\n20,0.5\n")
    (project.folder / "results/train/run.json").write_text("{}\n")
    assert project.run("git", "status", "--porcelain").stdout.count("\n") == 3
    found = snapshot().tags
    assert found["git_dirty"] == "false"
    assert found["patch_sha256"] == "none"


def test_a_repository_without_a_commit_has_no_sha(project: Project) -> None:
    project.run("git", "update-ref", "-d", "HEAD")
    found = snapshot().tags
    assert found["git_sha"] == found["patch_sha256"] == "none"


def test_a_checkout_of_another_owner_is_not_silently_without_lineage(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(PipelineError, match=r"git config --global --add safe\.directory"):
        snapshot()


def test_outside_git_the_sha_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.folder / ".git").rename(project.folder / "not-git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.folder.parent))
    assert snapshot().tags["git_sha"] == "none"


def test_untracked_data_is_an_error_that_names_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="dvc add data"):
        data_md5(tmp_path / "data.dvc")
