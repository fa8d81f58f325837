"""Two trainings that take turns on the processors, so that a machine that drifts drifts for both."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.errors import BenchmarkError
from benchmarks.training.table import Step


@dataclass
class Learner:
    """A process of `benchmarks.training.learner`, stopped but for its turns."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]
    turns: list[tuple[float, float]] = field(default_factory=list)
    """When each began and ended, in seconds of the clock that progress.jsonl has."""

    def wait_until_stopped(self) -> None:
        """Raises BenchmarkError when it ends before it has stopped itself."""
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self._check()
            raise BenchmarkError(f"{self.name} has too few reviews for its first steps: name more")

    def turn(self, seconds: float) -> bool:
        """Let it run for so long; whether it goes on after that."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            self._check()
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGSTOP)
        self.turns.append((began, time.monotonic()))
        return self.process.returncode is None

    def progress(self) -> list[Step]:
        with (self.folder / "progress.jsonl").open() as file:
            return [json.loads(line) for line in file]

    def _check(self) -> None:
        if self.process.returncode:
            last = (self.folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
            raise BenchmarkError(f"{self.name} failed: {''.join(last)} ({self.folder / 'log'} has all)")


@contextlib.contextmanager
def learner(name: str, folder: Path, reviews: int | None) -> Iterator[Learner]:
    """A contender that has done its first steps, and waits."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "benchmarks.training.learner", name, "--folder", str(folder)]
    words += ["--reviews", str(reviews)] if reviews else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
    started = Learner(name, folder, process)
    try:
        started.wait_until_stopped()
        yield started
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def alternate(learners: Mapping[str, Learner], seconds: float) -> Iterator[str]:
    """Give each its turn until all have ended; says who has just had one."""
    going = dict(learners)
    while going:
        for name, one in list(going.items()):
            if not one.turn(seconds):
                del going[name]
            yield name
