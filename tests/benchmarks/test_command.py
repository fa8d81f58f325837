import subprocess
import sys
from collections.abc import Callable

import pytest

from benchmarks import command
from benchmarks.command import BenchmarkError
from pipelines.core.errors import PipelineError
from tests.project import ROOT


def failing(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "status", "message"),
    [
        (lambda: None, None, ""),
        (lambda: 1, 1, ""),
        (failing(BenchmarkError("wrk is missing")), 2, "error: wrk is missing\n"),
        (failing(PipelineError("params.yaml is missing")), 2, "error: params.yaml is missing\n"),
        (failing(KeyboardInterrupt()), 130, "\ninterrupted: nothing was kept\n"),
    ],
)
def test_errors_exit_with_one_line(
    main: Callable[[], int | None],
    status: int | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as exit_:
        command.run(main, interrupted="nothing was kept")
    assert exit_.value.code == status
    assert capsys.readouterr().err == message


@pytest.mark.process
def test_sigterm_unwinds_the_stack() -> None:
    code = """
import contextlib, os, signal
from benchmarks import command

def main():
    with contextlib.ExitStack() as stack:
        stack.callback(print, "the servers are stopped")
        os.kill(os.getpid(), signal.SIGTERM)

command.run(main)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "the servers are stopped\n")
    assert done.stderr.strip().startswith("interrupted: ")
