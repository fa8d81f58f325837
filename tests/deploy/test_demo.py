import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.demo import StepTimer, demo
from tests.deploy.stack import interruptible


def makefile(folder: Path, **recipes: str) -> None:
    """Write a Makefile whose steps succeed, except for the given recipes."""
    steps = dict.fromkeys(("ingest", "repro", "promote", "up"), "true") | recipes
    text = "".join(f"{name}:\n\t@{recipe}\n" for name, recipe in steps.items())
    (folder / "Makefile").write_text(f".PHONY: {' '.join(steps)}\n{text}")


@pytest.mark.process
def test_a_failed_step_is_named_and_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    makefile(tmp_path, repro="echo went wrong; exit 3", promote="touch promoted")
    assert demo(None) == 2  # the exit code of make for any failed recipe
    output = capfd.readouterr().out
    assert "went wrong" in output
    assert "step `repro` failed" in output
    assert not (tmp_path / "promoted").exists()


@pytest.mark.process
def test_an_interrupt_ends_the_running_step(tmp_path: Path) -> None:
    makefile(tmp_path, repro="echo begun $$$$; exec sleep 60")
    with subprocess.Popen(
        interruptible(sys.executable, "-m", "deploy.local", "demo"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        pid = next(int(line.split()[1]) for line in process.stdout if line.startswith("begun"))
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        output = process.communicate(timeout=120)[0]
    assert process.returncode == 130
    assert "interrupted: run `demo` again" in output
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_table_shows_the_total() -> None:
    timer = StepTimer(install_seconds=60)
    with timer.step("ingest"):
        pass
    lines = timer.table().splitlines()
    assert lines[1].split() == ["install", "60.0"]
    assert lines[-1].split() == ["total", "60.0"]
