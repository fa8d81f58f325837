"""Stages of the pipeline without their imports: processes forked from one that has PyTorch and MLflow loaded.

A stage imports for 5 to 15 seconds, longer than its work takes on test data. With `environment()`, the
command `python -m pipelines.STAGE` asks a server to fork a process for it, also where DVC starts the command.
The process is real: it runs the code of its working directory with the caller's arguments, environment and
standard streams, receives the signals sent to the command, and dies if the command is killed. It shares only
third-party modules.
"""

import atexit
import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent
START_SECONDS = 300


@cache
def environment() -> dict[str, str]:
    """Variables for a process whose stages are to be forked; starts the server, one for all of a test run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"warm-stages-{run}"
    folder.mkdir(mode=0o700, exist_ok=True)
    socket = folder / "socket"
    with FileLock(folder / "lock"):
        if not socket.exists():
            start(folder)
    return {"WARM_STAGES": str(socket), "PYTHONPATH": str(HERE / "client")}


def start(folder: Path) -> None:
    """Start the server, which ends with the test run, and wait until it listens."""
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm_stages.server", str(folder), str(owner)],
            cwd=HERE.parents[1],
            # Trainings of several tests run at once; one that wants all cores says so itself.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # The server outlives this process if other workers still use it. Python would warn about that.
    atexit.register(setattr, server, "returncode", 0)
    deadline = time.monotonic() + START_SECONDS
    while not (folder / "socket").exists():
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, f"no server within {START_SECONDS} s"
        time.sleep(0.1)
