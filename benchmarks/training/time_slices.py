"""Training processes that alternate: only one runs at a time, the other is stopped with SIGSTOP."""

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

from benchmarks.command import BenchmarkError
from benchmarks.training.table import Step


@dataclass
class TrainingProcess:
    """A process of benchmarks.training.worker, which runs only in its time slices."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]
    slices: list[tuple[float, float]] = field(default_factory=list)
    """Start and end of each time slice, on the same monotonic clock as progress.jsonl."""

    def wait_for_warm_up(self) -> None:
        """Wait until the process has stopped itself. Raises BenchmarkError if it exits first."""
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self._check()
            raise BenchmarkError(f"{self.name} has too few reviews for its warm-up: increase --reviews")

    def run(self, seconds: float) -> bool:
        """Run for one time slice. Returns whether the training is still unfinished."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            self._check()
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGSTOP)
        self.slices.append((started, time.monotonic()))
        return self.process.returncode is None

    def progress(self) -> list[Step]:
        with (self.folder / "progress.jsonl").open() as file:
            return [json.loads(line) for line in file]

    def _check(self) -> None:
        """Raise BenchmarkError if the process has failed."""
        if self.process.returncode:
            last = (self.folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
            raise BenchmarkError(f"{self.name} failed: {''.join(last)} (see {self.folder / 'log'})")


@contextlib.contextmanager
def start(
    name: str,
    folder: Path,
    reviews: int | None,
    seed: int,
    settings: Mapping[str, str] | None = None,
) -> Iterator[TrainingProcess]:
    """Yield a contender that has done its warm-up steps and is stopped; kill it at the end.

    `settings` are added to its environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "benchmarks.training.worker", name, "--folder", str(folder)]
    words += ["--seed", str(seed)]
    words += ["--reviews", str(reviews)] if reviews else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=subprocess.STDOUT, env=os.environ | dict(settings or {})
        )
    training = TrainingProcess(name, folder, process)
    try:
        training.wait_for_warm_up()
        yield training
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def alternate(trainings: Mapping[str, TrainingProcess], seconds: float) -> Iterator[str]:
    """Give each training a time slice in turn until all have finished; yield its name after each slice."""
    unfinished = dict(trainings)
    while unfinished:
        for name, training in list(unfinished.items()):
            if not training.run(seconds):
                del unfinished[name]
            yield name
