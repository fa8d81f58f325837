"""The processes of one contender: start them, find them, end all of them.

Some start theirs in sessions of their own (Ray, BentoML), so a process group is not enough: each inherits an
environment variable that only this start of this contender has.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from benchmarks.serving.errors import BenchmarkError

HOST = "127.0.0.1"
MARK = "BENCHMARK_START"
# From above the well-known ports of databases and the like to where Linux begins to deal them out.
PORTS = (16384, 32768)


@dataclass
class Family:
    """Every living process with our mark, whoever its parent is."""

    mark: str
    roots: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path) -> None:
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.roots.append(process)

    def has_ended(self) -> bool:
        return any(root.poll() is not None for root in self.roots)

    def members(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if bears(process, self.mark)]

    def stop(self, grace: float = 10) -> None:
        """Ask the first processes, which tell the others; what is left after `grace` seconds is killed."""
        for root in reversed(self.roots):
            if root.poll() is None:
                root.terminate()
        _, alive = psutil.wait_procs(self.members(), timeout=grace)
        while alive:
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(alive, timeout=5)
            alive = self.members()
        for root in self.roots:
            root.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def bears(process: psutil.Process, mark: str) -> bool:
    """Whether it is ours; what may not be looked into is another user's."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def wait_until(condition: Callable[[], bool], family: Family, seconds: float) -> None:
    """Raises BenchmarkError when a process ends first, or the time does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if family.has_ended():
            raise BenchmarkError("a process ended while starting")
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not ready within {seconds:g} seconds")
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, all below those that the kernel deals out.

    A port that it gave for `bind(0)` it gives again, to a client or to another part of the same server, while
    the server that it was meant for starts.
    """
    chance = random.SystemRandom()  # a training seeds the other generator, and all would draw the same
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            probe, port = held.enter_context(socket.socket()), chance.randrange(*PORTS)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                ports.append(port)
    return ports


def free_port() -> int:
    return free_ports(1)[0]


def end_on_terminate() -> None:
    """Let SIGTERM unwind the stack like an interrupt, so that no server is left behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def new_mark() -> str:
    return f"{os.getpid()}-{time.monotonic_ns()}"
