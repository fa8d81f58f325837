"""The Makefile under settings of the user's environment."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.process


def make(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"} | variables
    return subprocess.run(
        ["make", "--directory", str(folder), "--no-print-directory", *words],
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
