"""Starts the processes of a benchmark, finds their descendants, and stops all of them.

Ray and BentoML start processes in new sessions, so a process group does not contain them all. Instead, every
process inherits an environment variable, the cookie, whose value is unique to one ProcessTree.
"""

import contextlib
import os
import random
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from benchmarks.command import BenchmarkError

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
COOKIE = "BENCHMARK_COOKIE"

PORTS = (16384, 32768)
"""Above the well-known ports of databases and the like, and below the ephemeral ports of Linux."""

HIDDEN = ("BENTOML_", "BENTO_URL", "DATABASE_URL", "MLFLOW_", "PYTHON", "RAY_", "VIRTUAL_ENV")
"""Prefixes of variables that configure the user's own stack."""

COMMAND_SECONDS = 600
LOG_LINES = 5


@dataclass
class ProcessTree:
    """All running processes with the same cookie, whatever their parents are."""

    cookie: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path) -> None:
        """Start a process in `folder`; its output is appended to `log`."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, COOKIE: self.cookie},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        self.logs.append(log)

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until the processes are ready.

        Raises BenchmarkError with the end of the logs if a process exits or the time is over.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if any(process.poll() is not None for process in self.started):
                raise BenchmarkError(f"a process exited during its start\n{self._end_of_logs()}".strip())
            if time.monotonic() > deadline:
                raise BenchmarkError(f"not ready within {seconds:g} seconds\n{self._end_of_logs()}".strip())
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if has_cookie(process, self.cookie)]

    def stop(self, grace_seconds: float = 10) -> None:
        """Send SIGTERM to the processes started here, then SIGKILL to whatever still runs."""
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
        _, alive = psutil.wait_procs(self.processes(), timeout=grace_seconds)
        while alive:
            for survivor in alive:
                with contextlib.suppress(psutil.Error):
                    survivor.kill()
            psutil.wait_procs(alive, timeout=5)
            alive = self.processes()
        for process in self.started:
            process.wait()

    def _end_of_logs(self) -> str:
        return "\n".join(last_lines(log.read_text(errors="replace")) for log in dict.fromkeys(self.logs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def has_cookie(process: psutil.Process, cookie: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(COOKIE) == cookie
    except (psutil.Error, OSError):  # it has exited, or belongs to another user
        return False


def run_to_end(
    command: Sequence[str],
    environment: Mapping[str, str],
    stdin: str = "",
    seconds: float = COMMAND_SECONDS,
) -> str:
    """Run a command in the repository and return its standard output.

    Raises BenchmarkError with the end of the output if it fails or takes too long.
    """
    name = " ".join(command[:3])
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, input=stdin, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"`{name}` did not finish within {seconds:g} seconds") from None
    if done.returncode:
        output = last_lines(f"{done.stdout}\n{done.stderr}")
        raise BenchmarkError(f"`{name}` failed with exit code {done.returncode}:\n{output}")
    return done.stdout


def last_lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines()[-LOG_LINES:])


def clean_environment() -> dict[str, str]:
    """Return the environment without the variables that configure the user's own stack."""
    return {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}


def free_ports(count: int) -> list[int]:
    """Return ports that are free and that the kernel does not assign by itself.

    The kernel may assign a port from `bind(0)` a second time, to a client or to another part of the same
    server, before the intended server binds it.
    """
    generator = random.SystemRandom()  # trainings seed the global generator, so all would draw the same ports
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            probe, port = stack.enter_context(socket.socket()), generator.randrange(*PORTS)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                ports.append(port)
    return ports


def free_port() -> int:
    return free_ports(1)[0]
