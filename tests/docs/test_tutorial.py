"""The commands of docs/tutorial.md, run as written in a clone of this project."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import free_ports
from tests import warm_stages
from tests.project import NO_BEHAVIOUR_LIMITS, ROOT, Project

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PORTS = {"API_PORT": 8000, "BENTO_PORT": 3000, "MLFLOW_PORT": 5000, "POSTGRES_PORT": 5433}
# `make install` finds the environment of this test in the clone, which saves two minutes of pip.
INSTALLED = f"mkdir .venv; ln -s {sys.prefix}/* .venv/; touch .venv/.installed\n"


def commands() -> list[str]:
    """Return the page's blocks of shell commands, in order."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The working tree as a repository, with free ports and a short training."""
    project = Project(tmp_path / "repository")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file():
            (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project.folder / name)
    example = project.folder / ".env.example"
    lines = example.read_text(encoding="utf-8")
    for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True):
        lines = re.sub(rf"^{name}=.*$", f"{name}={port}", lines, flags=re.MULTILINE)
    example.write_text(lines, encoding="utf-8")
    project.set_params(train={"epochs": 0.1, "max_tokens": 16})
    project.set_params(export={"calibration_reviews": 10, "max_accuracy_loss": 1.0})
    project.set_params(evaluate=NO_BEHAVIOUR_LIMITS)
    project.run("git", "init", "--quiet")
    project.commit("the project")
    return project


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """The path of the tutorial's clone; the stack that the tutorial starts there is stopped at the end."""
    clone = tmp_path / "movie-reviews"
    yield clone
    if clone.exists():
        subprocess.run([sys.executable, "-m", "deploy.local", "down"], cwd=clone, check=True)


@pytest.mark.process
def test_the_commands_of_the_tutorial_work(project: Project, clone: Path) -> None:
    first, *others = commands()
    port = re.search(r"^API_PORT=(\d+)$", (project.folder / ".env.example").read_text(), re.MULTILINE)
    assert port
    script = "".join([first, INSTALLED, *others]).replace(":8000/", f":{port[1]}/")
    author = {
        f"GIT_{role}_{part}": "t@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for part in ("NAME", "EMAIL")
    }
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_", *PORTS))
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=clone.parent,
        # After such a short training, the accuracy of int8 may differ by any amount.
        env={
            **inherited,
            **author,
            **warm_stages.environment(),
            "REPOSITORY": str(project.folder),
            "OMP_NUM_THREADS": "1",
            "SENTIMENT_PROMOTE_MAX_ACCURACY_LOSS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert "data/reviews.csv: 800 reviews from csv" in done.stdout
    assert "didn't change, skipping" in done.stdout, "the second `dvc repro` runs no stage"
    assert '"model_version":"1"' in done.stdout
    assert re.search(r'"movie_id":"corner-cafe".*"sentiment":\{"label"', done.stdout), (
        "the worker stores the sentiment"
    )
