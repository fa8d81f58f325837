import json
from pathlib import Path

import pytest

from pipelines.core.errors import PipelineError
from pipelines.lineage.tags import data_md5
from tests.project import Project

TAGS = "import json; from pathlib import Path; from pipelines.lineage.tags import lineage; "
TAGS += "print(json.dumps(lineage(Path('split.csv'))))"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    for name, text in {
        "split.csv": "a\n",
        "params.yaml": "seed: 1\n",
        "data.dvc": "outs:\n- md5: abc.dir\n",
        "dvc.lock": "1\n",
    }.items():
        (tmp_path / name).write_text(text)
    project.run("git", "init", "--quiet")
    project.commit("all")
    return project


def tags(project: Project, **env: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(project.run("python", "-c", TAGS, env=env).stdout)
    return found


def test_the_tags_follow_what_they_name(project: Project) -> None:
    before = tags(project)
    assert before["git_sha"] == project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert before["git_dirty"] == "false"
    assert before["data_md5"] == "abc.dir"
    assert before["dvc_experiment"] == "none"
    assert before["patch_sha256"] == "none"
    (project.folder / "params.yaml").write_text("seed: 2\n")
    (project.folder / "split.csv").write_text("b\n")
    after = tags(project, DVC_EXP_NAME="pale-moon")
    assert after["git_dirty"] == "true"
    assert after["dvc_experiment"] == "pale-moon"
    assert after["patch_sha256"] != "none"
    assert after["params_sha256"] != before["params_sha256"]
    assert after["split_sha256"] != before["split_sha256"]


def test_what_dvc_repro_writes_is_not_dirt(project: Project) -> None:
    (project.folder / "dvc.lock").write_text("2\n")
    assert tags(project)["git_dirty"] == "false"
    assert tags(project)["patch_sha256"] == "none"


def test_a_repository_without_a_commit_has_no_sha(project: Project) -> None:
    project.run("git", "update-ref", "-d", "HEAD")
    assert tags(project)["git_sha"] == tags(project)["patch_sha256"] == "none"


def test_outside_git_the_sha_is_none(project: Project) -> None:
    (project.folder / ".git").rename(project.folder / "not-git")
    assert tags(project, GIT_CEILING_DIRECTORIES=str(project.folder.parent))["git_sha"] == "none"


def test_data_that_dvc_does_not_track_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="dvc add data"):
        data_md5(tmp_path / "data.dvc")
