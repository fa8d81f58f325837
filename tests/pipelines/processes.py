"""Stages in processes of their own, which can be killed, without the ten seconds that their imports take.

The processes are forked from a server that has imported PyTorch, transformers and MLflow once.
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

PATIENCE = 600  # seconds; a limit for what hangs, not a measure of speed
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
    """The multiprocessing context; its server imports this module, and `tests.pipelines.runs`, once."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.pipelines.runs"])
    with contextlib.chdir(ROOT):  # where the server finds `tests`
        fork.ensure_running()
    return context


def together(count: int, target: Callable[[str, Barrier, Connection], None], word: str) -> list[Any]:
    """What `count` processes send that run `target` with this word at once."""
    context = forkserver()
    barrier = context.Barrier(count)
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    processes = [context.Process(target=target, args=(word, barrier, sender)) for _, sender in pipes]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * count
    return [receiver.recv() for receiver, _ in pipes]


@dataclass(frozen=True)
class Running:
    """A stage or command at work."""

    process: BaseProcess
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.is_alive(), self.output
            assert time.monotonic() < give_up, self.output
            time.sleep(0.1)

    def send(self, sign: signal.Signals) -> int:
        """Send the signal; the exit code that follows."""
        assert self.process.pid is not None
        os.kill(self.process.pid, sign)
        return self.end()

    def end(self) -> int:
        """The exit code."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, self.output
        return self.process.exitcode


@contextlib.contextmanager
def running(
    folder: Path, name: str, *words: str, held: Event | None = None, method: str = ""
) -> Iterator[Running]:
    """`python -m pipelines.NAME WORDS` in `folder`; killed at the end."""
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
    """The stage in `folder`, asleep in `method` of `pipelines.core.checkpoints` after its first call.

    It sleeps until a signal comes, so that no test has to be faster than a training.
    """
    held = forkserver().Event()
    with running(folder, stage, held=held, method=method) as found:
        found.wait_until(held.is_set)
        yield found


def run_stage(
    folder: Path, stage: str, *words: str, check: bool = True, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m pipelines.STAGE WORDS` in `folder`; `check` shows its output when it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        process = forkserver().Process(
            target=_run, args=(folder, stage, words, environment(env or {}), out, err)
        )
        process.start()
        process.join(PATIENCE)
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
    # A parent under nohup ignores Ctrl-C, and its children would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for path, descriptor in ((out, 1), (err, 2)):
        with path.open("a") as file:
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()  # the server's
    os.environ.update(env)
    sys.argv = [stage, *words]
    os.chdir(folder)
    if held is not None:
        _hold(held, method)
    errors.run_stage(COMMANDS[stage])


def _hold(held: Event, method: str) -> None:
    owner, _, name = method.partition(".")
    kind = getattr(checkpoints, owner)
    original = getattr(kind, name)

    def then_sleep(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        held.set()
        time.sleep(PATIENCE)

    setattr(kind, name, then_sleep)
