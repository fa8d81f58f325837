"""Processes that start fast, forked from multiprocessing's server after it has imported PyTorch and MLflow.

They run stages, which can be interrupted or killed, and functions that must run at the same moment.
tests/warm_stages cannot replace them: its processes run commands, as DVC starts them, and not functions of a
test, such as one that stops a stage inside a method. Commands of DVC cannot be forked from this server.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import forkserver as fork
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

from pipelines.core import checkpoints, errors
from pipelines.evaluate import __main__ as evaluate
from pipelines.export import __main__ as export
from pipelines.lineage import __main__ as lineage
from pipelines.prepare import __main__ as prepare
from pipelines.pretrain import __main__ as pretrain
from pipelines.register import __main__ as register
from pipelines.sweep import __main__ as sweep
from pipelines.train import __main__ as train
from tests.project import ROOT, environment

TIMEOUT_SECONDS = 600
"""After which a process is considered to hang."""

# In the order of dvc.yaml.
STAGES = {
    "prepare": prepare.main,
    "pretrain": pretrain.main,
    "train": train.main,
    "export": export.main,
    "evaluate": evaluate.main,
    "register": register.main,
}
COMMANDS = STAGES | {"lineage": lineage.main, "sweep": sweep.main}


def forkserver() -> Any:
    """Return the multiprocessing context, whose server has imported this module and tests.pipelines.runs."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.pipelines.runs"])
    with contextlib.chdir(ROOT):  # so that the server can import `tests`
        fork.ensure_running()
    return context


def run_concurrently(
    count: int, target: Callable[[str, Barrier, Connection], None], argument: str
) -> list[Any]:
    """Run `target` with the argument in `count` processes, and return what each of them sends."""
    context = forkserver()
    barrier = context.Barrier(count)
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    processes = [context.Process(target=target, args=(argument, barrier, sender)) for _, sender in pipes]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT_SECONDS)
    assert [process.exitcode for process in processes] == [0] * count
    return [receiver.recv() for receiver, _ in pipes]


@dataclass(frozen=True)
class Running:
    """A process that runs a stage or a command."""

    process: BaseProcess
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert self.process.is_alive(), self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)

    def send(self, number: signal.Signals) -> int:
        """Send the signal, wait until the process ends, and return its exit code."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Wait until the process ends and return its exit code."""
        self.process.join(TIMEOUT_SECONDS)
        assert self.process.exitcode is not None, self.output
        return self.process.exitcode


@contextlib.contextmanager
def running(
    folder: Path, name: str, *words: str, held: Event | None = None, method: str = ""
) -> Iterator[Running]:
    """Run `python -m pipelines.NAME WORDS` in `folder` during the block; kill it at the end."""
    log = folder.with_name(f"{name}-{time.monotonic_ns()}.log")
    process = forkserver().Process(
        target=_run, args=(folder, name, words, environment({}), log, log, held, method), daemon=True
    )
    process.start()
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.join()


@contextlib.contextmanager
def held_stage(folder: Path, stage: str, method: str) -> Iterator[Running]:
    """Run the stage in `folder` until the end of the first call to `method` of pipelines.core.checkpoints.

    There it sleeps until it receives a signal, so that a test can interrupt a training at a known point.
    """
    held = forkserver().Event()
    with running(folder, stage, held=held, method=method) as process:
        process.wait_until(held.is_set)
        yield process


def run_stage(
    folder: Path, stage: str, *words: str, check: bool = True, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m pipelines.STAGE WORDS` in `folder`; with `check`, assert that it succeeds."""
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        process = forkserver().Process(
            target=_run, args=(folder, stage, words, environment(env or {}), out, err)
        )
        process.start()
        process.join(TIMEOUT_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        done = subprocess.CompletedProcess(
            (stage, *words), process.exitcode, out.read_text(), err.read_text()
        )
    assert not check or done.returncode == 0, f"{done.args}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def _run(
    folder: Path,
    stage: str,
    words: tuple[str, ...],
    env: dict[str, str],
    out: Path,
    err: Path,
    held: Event | None = None,
    method: str = "",
) -> None:
    # Under nohup, the parent ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for path, descriptor in ((out, 1), (err, 2)):
        with path.open("a") as file:
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [stage, *words]
    os.chdir(folder)
    if held is not None:
        _hold(held, method)
    errors.run_stage(COMMANDS[stage])


def _hold(held: Event, method: str) -> None:
    """Make the method set `held` after its work, and then sleep."""
    owner, _, name = method.partition(".")
    kind = getattr(checkpoints, owner)
    original = getattr(kind, name)

    def then_sleep(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        held.set()
        time.sleep(TIMEOUT_SECONDS)

    setattr(kind, name, then_sleep)
