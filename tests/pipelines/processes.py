"""Commands of the pipeline that a test interrupts or kills."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.project import Project, environment

TIMEOUT_SECONDS = 600
"""After which a process is considered to hang."""


@dataclass(frozen=True)
class Running:
    """A process that runs a command, and the file with its output."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)

    def send(self, number: signal.Signals) -> int:
        """Send the signal, wait until the process ends, and return its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until the process ends and return its exit code."""
        return self.process.wait(TIMEOUT_SECONDS)


@contextlib.contextmanager
def running(
    project: Project, name: str, *words: str, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run `python -m pipelines.NAME WORDS` in the project during the block; kill it at the end."""
    log = project.folder.with_name(f"{name}-{time.monotonic_ns()}.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            # Under nohup, a child would inherit that SIGINT is ignored.
            ["env", "--default-signal=INT", "python", "-m", f"pipelines.{name}", *words],
            cwd=project.folder,
            env=environment(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def held_stage(project: Project, stage: str, method: str) -> Iterator[Running]:
    """Run the stage until the end of the first call to `method` of pipelines.core.checkpoints.

    There it sleeps until it receives a signal, so that a test can interrupt a training at a known point.
    """
    held = project.folder.with_name(f"held-{time.monotonic_ns()}")
    with running(project, stage, env={"WARM_STAGES_HOLD": method, "WARM_STAGES_HELD": str(held)}) as process:
        process.wait_until(held.exists)
        yield process
