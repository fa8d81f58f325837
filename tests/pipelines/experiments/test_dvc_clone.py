from pathlib import Path

import pytest

from pipelines.core.checkpoints import root
from pipelines.experiments.dvc_clone import workspace
from tests.project import Project


@pytest.mark.process
def test_a_clone_shares_the_checkpoints_which_outlive_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path / "project")
    (project.folder / "data").mkdir(parents=True)
    (project.folder / "data" / "reviews.csv").touch()
    (project.folder / ".gitignore").write_text("var/\n")
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    project.run("dvc", "add", "--quiet", "data")
    project.commit("all")
    with workspace(project.folder, project.folder / "var/sweep/work/1") as clone:
        monkeypatch.setenv("DVC_ROOT", str(clone.folder))
        (root() / "training").mkdir()
    assert not clone.folder.exists()
    assert (project.folder / "var/checkpoints/training").is_dir()
