"""Start supervisord and call its XML-RPC interface over a Unix socket."""

import contextlib
import fcntl
import hashlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from xmlrpc.client import Fault, ServerProxy, Transport

from deploy.env import write_private
from deploy.local.processes import STACK
from deploy.local.settings import StackError

MAX_SOCKET_PATH = 95  # bytes; macOS allows 104, and supervisord appends its pid while it starts


@dataclass(frozen=True)
class Program:
    """The state of a service in supervisord. `uptime` is in seconds; `pid` is 0 if it is not running."""

    name: str
    state: str
    pid: int
    uptime: int
    note: str


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self.host)


class UnixTransport(Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        connection = UnixConnection("localhost")
        connection.host = str(self.path)
        self._connection = (str(self.path), connection)  # the base class closes it from here
        return connection


class Supervisor:
    """The supervisord of a var/ folder, running or not."""

    def __init__(self, var: Path) -> None:
        self.run, self.log = var / "run", var / "log"
        self.var = var
        self.configuration = self.run / "supervisord.conf"
        self.pidfile = self.run / "supervisord.pid"
        self.socket = socket_path(self.run)

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method. Raises OSError or HTTPException without a response, Fault on an error."""
        with ServerProxy("http://localhost", transport=UnixTransport(self.socket)) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def is_running(self) -> bool:
        try:
            return cast("dict[str, str]", self.call("getState"))["statename"] == "RUNNING"
        except (OSError, http.client.HTTPException):
            return False

    def programs(self) -> dict[str, Program]:
        return {found["name"]: program(found) for found in self.call("getAllProcessInfo")}

    def start(self, name: str) -> None:
        """Start a service unless it is running; a service in a restart loop starts afresh."""
        state = self.programs()[name].state
        if state in ("STARTING", "RUNNING"):
            return
        self.stop(name)
        self.call("startProcess", name, False)

    def stop(self, name: str) -> None:
        """Stop a service and wait for its exit; does nothing if it is not running."""
        with contextlib.suppress(Fault):
            self.call("stopProcess", name)

    def boot(self, text: str) -> None:
        """Start supervisord as a daemon that outlives the caller and its terminal. Raises StackError."""
        for folder in (self.run, self.log):
            folder.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        if self.socket.parent.stat().st_uid != os.getuid():
            raise StackError(
                f"{self.socket.parent} belongs to another user: set VAR_DIR in .env to a shorter path"
            )
        write_private(self.configuration, text)
        words = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration)]
        environment = os.environ | {STACK: str(self.var)}
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, start_new_session=True, cwd=Path.cwd()
        )
        if done.returncode:
            raise StackError(f"supervisord did not start: {done.stderr.strip() or done.stdout.strip()}")
        deadline = time.monotonic() + 10
        while not self.is_running():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not respond: see {self.log / 'supervisord.log'}")
            time.sleep(0.05)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of `up` and `down`; the kernel releases it when the process ends."""
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("waiting for another `up` or `down` of this stack", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def program(found: dict[str, Any]) -> Program:
    """Convert an item of supervisor's getAllProcessInfo."""
    uptime = found["now"] - found["start"] if found["pid"] else 0
    return Program(found["name"], found["statename"], found["pid"], max(0, uptime), found["spawnerr"])


def socket_path(run: Path) -> Path:
    """Return a path in the run folder, or in a private temporary folder if that is too long for a socket."""
    path = run / "supervisor.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    short = hashlib.sha256(os.fsencode(run)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"movie-reviews-{os.getuid()}-{short}" / "supervisor.sock"
