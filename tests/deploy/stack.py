"""A real stack in its own folder, driven through its command line."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks.processes import free_ports
from deploy.local.down import bring_down
from deploy.local.processes import stack_processes
from deploy.local.settings import StackError
from deploy.local.supervision import Supervisor

PORTS = ("API_PORT", "BENTO_PORT", "MLFLOW_PORT", "POSTGRES_PORT")
SETTINGS = (
    *(*PORTS, "API_KEY", "DATABASE_URL", "POSTGRES_PASSWORD", "VAR_DIR"),
    *("MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"),
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


@contextlib.contextmanager
def stack_folder() -> Iterator[Path]:
    """A temporary folder outside pytest's.

    PostgreSQL never runs as root, so it must be able to traverse the parent folders. Any pytest session that
    starts removes that permission from /tmp/pytest-of-root.
    """
    with tempfile.TemporaryDirectory(prefix="movie-reviews-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


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
        """The environment of this process without the settings, which would override `.env`."""
        # The default of five seconds is most of the duration of a test that waits for spans.
        return {name: value for name, value in os.environ.items() if name not in SETTINGS} | {
            "OTEL_BSP_SCHEDULE_DELAY": "500"
        }

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
        """Run a command, check its exit code and return its output."""
        with self.begin(*words, module=module) as process:
            output, _ = process.communicate(timeout=600)
        assert process.returncode == code, output
        return output

    def setting(self, name: str) -> str:
        """The value in `.env`, which `up` creates; the last line of a name counts."""
        values: list[str] = re.findall(rf"^{name}=(.*)$", (self.root / ".env").read_text(), re.MULTILINE)
        return values[-1]

    @property
    def database_url(self) -> str:
        """What `database-url` prints; the generated password needs no quoting."""
        password, port = self.setting("POSTGRES_PASSWORD"), self.ports["POSTGRES_PORT"]
        return f"postgresql+asyncpg://postgres:{password}@127.0.0.1:{port}/postgres"

    @property
    def api_key(self) -> str:
        return self.setting("API_KEY")

    def pid(self, name: str) -> int:
        return self.supervisor.programs()[name].pid

    def long_lived_pids(self) -> set[int]:
        """The pids that change only with a restart. PostgreSQL's backends come and go."""
        others = {process.pid for process in self.processes() if process.name() != "postgres"}
        return others | {self.pid("postgres")}

    def supervisord(self) -> psutil.Process:
        return psutil.Process(int(self.supervisor.pidfile.read_text()))

    def processes(self) -> list[psutil.Process]:
        return stack_processes(self.var)

    def url(self, port: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def destroy(self) -> None:
        """Stop every process, whatever state the tests left."""
        with contextlib.suppress(StackError):
            bring_down(self.supervisor)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs. An orphan that process 1 has not reaped yet does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Poll a condition. The generous default is for busy machines."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
