"""The Makefile under settings of the user's environment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.process


def make(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"} | variables
    return subprocess.run(
        [str(shutil.which("make")), "--directory", str(folder), "--no-print-directory", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_targets_run_in_order_and_pip_installs_into_the_environment(tmp_path: Path) -> None:
    targets = "first:\n\t@sleep 0.2; echo $$PIP_USER\nsecond:\n\t@echo second\n"
    (tmp_path / "Makefile").write_text(f"include {ROOT}/Makefile\n{targets}")
    done = make(tmp_path, "first", "second", MAKEFLAGS="-j4", PIP_USER="1")
    assert done.stdout.splitlines() == ["no", "second"], done.stderr


def test_an_archive_without_git_says_what_to_do(tmp_path: Path) -> None:
    done = make(tmp_path, "--file", f"{ROOT}/Makefile", "repro")
    assert done.returncode == 2
    assert "git init --quiet && git add --all && git commit" in done.stdout
    assert "not a git repository" in done.stderr


def test_a_checkout_of_another_owner_says_what_to_do(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    done = make(tmp_path, "--file", f"{ROOT}/Makefile", "repro", GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert done.returncode == 2
    assert "git config --global --add safe.directory" in done.stderr


def test_the_first_python_that_has_venv_is_taken(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(f"include {ROOT}/Makefile\nchosen: python\n\t@echo $(PYTHON)\n")
    for name, status in {"bash": None, "python3.11": 1, "python3.12": 0, "python3.13": 0}.items():
        program = tmp_path / name
        if status is None:
            program.symlink_to("/bin/bash")
        else:
            program.write_text(f"#!/bin/sh\nexit {status}\n")
            program.chmod(0o755)
    chosen = make(tmp_path, "chosen", PATH=str(tmp_path))
    assert chosen.stdout.splitlines() == ["python3.12"], chosen.stderr
    assert make(tmp_path, "chosen", "PYTHON=/opt/python", PATH=str(tmp_path)).stdout == "/opt/python\n"


def test_without_a_python_one_line_says_what_to_do(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / "bash").symlink_to("/bin/bash")
    done = make(tmp_path, "--file", f"{ROOT}/Makefile", "install", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stdout.startswith("No Python 3.11, 3.12 or 3.13 with venv was found.")
    assert len(done.stdout.splitlines()) == 1
