"""The commands of docs/how-to/share-data-and-results.md, with a folder as the remote and a fresh clone."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.project import ROOT, Project, copy_project

pytestmark = pytest.mark.process

PAGE = (ROOT / "docs/how-to/share-data-and-results.md").read_text(encoding="utf-8")
IDS = ("train/run.json", "export/model.json")
AUTHOR = {
    f"GIT_{role}_{part}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
}


def block(containing: str) -> str:
    """Return the page's first block of shell commands with these words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(next(found for found in blocks if containing in found))


def run(project: Project, script: str) -> subprocess.CompletedProcess[str]:
    return project.run("bash", "-euo", "pipefail", "-c", script, env=AUTHOR)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files in data/ and results/, without those that only git and DVC read."""
    files = [path for name in ("data", "results") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != ".gitignore"}


@pytest.fixture(scope="module")
def pushed(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose results were pushed to a folder as the page says, and its commits to `origin`."""
    folder = tmp_path_factory.mktemp("shared")
    project = copy_project(trained, folder / "project")
    project.run("git", "init", "--quiet", "--bare", str(folder / "origin"))
    project.run("git", "remote", "add", "origin", str(folder / "origin"))
    project.run("git", "push", "--quiet", "--set-upstream", "origin", "HEAD")
    run(project, block("/mnt/team").replace("/mnt/team", str(folder)))
    run(project, block("dvc push"))
    return project


@pytest.fixture
def clone(pushed: Project, tmp_path: Path) -> Project:
    clone = Project(tmp_path / "clone")
    pushed.run("git", "clone", "--quiet", str(pushed.folder.parent / "origin"), str(clone.folder))
    return clone


def test_a_fresh_clone_gets_all_results_without_running_a_stage(pushed: Project, clone: Project) -> None:
    assert not (clone.folder / "data").exists()
    done = run(clone, block("dvc pull"))
    assert "Running stage" not in done.stdout
    assert "up to date" in done.stdout
    assert contents(clone.folder) == contents(pushed.folder)
    assert not clone.run("git", "status", "--porcelain").stdout
    client = MlflowClient(pushed.tracking_uri)
    trained, exported = (json.loads((clone.folder / "results" / name).read_text()) for name in IDS)
    assert client.get_logged_model(exported["model_id"]).source_run_id == trained["run_id"]


def test_credentials_are_not_in_git(clone: Project) -> None:
    run(clone, block("s3://").replace("dvc remote add --default", "dvc remote add --force --default"))
    assert "https://s3.example.org" in clone.run("git", "show", "HEAD:.dvc/config").stdout
    assert "secret_access_key = SECRET" in (clone.folder / ".dvc/config.local").read_text()
    assert not clone.run("git", "status", "--porcelain").stdout
    assert "SECRET" not in clone.run("git", "log", "--patch", "-1").stdout
