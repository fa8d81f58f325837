"""A real stack in a folder of its own, driven through its command line like a person does."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.serving.processes import free_ports
from deploy.local.processes import ours
from deploy.local.supervision import Supervisor

PORTS = ("API_PORT", "BENTO_PORT", "MLFLOW_PORT", "POSTGRES_PORT")
SETTINGS = (
    *(*PORTS, "API_KEY", "DATABASE_URL", "POSTGRES_PASSWORD", "VAR_DIR"),
    *("LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT", "PROMETHEUS_PORT", "WORKER_METRICS_PORT"),
)
UNLIMITED = [f"API_LIMIT_{kind}=off" for kind in ("READ", "ANALYZE", "WRITE")]


# A background job of a shell without job control (`nohup make test &`) ignores SIGINT, and its children
# inherit that: Python then never raises KeyboardInterrupt.
DEFAULT_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def interruptible(*command: str) -> list[str]:
    """Wrap a command so that it starts with the default action for SIGINT. `exec` keeps the pid."""
    return [sys.executable, "-I", "-S", "-c", DEFAULT_SIGINT, *command]


class Stack:
    def __init__(self, root: Path) -> None:
        self.root, self.var = root, root / "var"
        self.supervisor = Supervisor(self.var)
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        lines = [*(f"{name}={port}" for name, port in self.ports.items()), "POSTGRES_PASSWORD=", *UNLIMITED]
        (root / ".env.example").write_text("\n".join(lines) + "\n")

    @property
    def environment(self) -> dict[str, str]:
        """Ours without the settings, which would win over the folder's `.env`."""
        return {name: value for name, value in os.environ.items() if name not in SETTINGS}

    def begin(self, *words: str, module: str = "deploy.local") -> subprocess.Popen[str]:
        return subprocess.Popen(
            interruptible(sys.executable, "-m", module, *words),
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, code: int = 0, module: str = "deploy.local") -> str:
        """What a command prints; fails the test when it exits with another code."""
        with self.begin(*words, module=module) as process:
            output, _ = process.communicate(timeout=600)
        assert process.returncode == code, output
        return output

    @property
    def api_key(self) -> str:
        """What `up` wrote into `.env`."""
        words = re.search(r"^API_KEY=(.+)$", (self.root / ".env").read_text(), re.MULTILINE)
        assert words
        return words[1]

    def pid(self, name: str) -> int:
        return self.supervisor.programs()[name].pid

    def lasting(self) -> set[int]:
        """The pids that stay as long as nothing is started again: PostgreSQL's children come and go."""
        others = {process.pid for process in self.processes() if process.name() != "postgres"}
        return others | {self.pid("postgres")}

    def supervisord(self) -> psutil.Process:
        return psutil.Process(int(self.supervisor.pidfile.read_text()))

    def processes(self) -> list[psutil.Process]:
        return ours(self.var)

    def url(self, port: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def password(self) -> str:
        lines = (self.root / ".env").read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("POSTGRES_PASSWORD="))

    def destroy(self) -> None:
        """Leave nothing behind, whatever the tests did."""
        self.run("down")
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; an orphan that process 1 has not collected yet does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
