"""Fast start of the pipeline's commands: they are forked from a server that has PyTorch and MLflow loaded.

The imports of a stage take 5 to 15 seconds, longer than its work on test data. In the environment that
`environment()` returns, the command `python -m pipelines.NAME` asks the server to fork a process for it,
even if DVC starts the command. The process runs the code of its working directory with the caller's
arguments, environment and standard streams. It receives the signals sent to the command and dies if the
command is killed. Only third-party modules are loaded in advance.
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
    """Return the variables that make commands use the server. All workers of a test run share one server."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"warm-stages-{run}"
    folder.mkdir(mode=0o700, exist_ok=True)
    socket = folder / "socket"
    with FileLock(folder / "lock"):
        if not socket.exists():
            start(folder)
    return {"WARM_STAGES": str(socket), "PYTHONPATH": str(HERE / "client")}


def start(folder: Path) -> None:
    """Start the server and wait until it listens. It exits when the test run ends."""
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm_stages.server", str(folder), str(owner)],
            cwd=HERE.parents[1],
            # Several tests train at the same time. A training that needs all cores sets this itself.
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
        assert time.monotonic() < deadline, f"the server did not start within {START_SECONDS} s"
        time.sleep(0.1)
