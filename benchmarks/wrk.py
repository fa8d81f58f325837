"""The load generator wrk. No Python runs between two requests."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.command import BenchmarkError

SCRIPT = Path(__file__).with_name("wrk.lua")
TIMEOUT_SECONDS = 60


def find_wrk() -> str:
    """Return the path of wrk. Raises BenchmarkError if it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkError(
            "the load generator wrk is missing: `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk`"
        )
    return found


def write_bodies(folder: Path, client: int, bodies: Iterable[object]) -> None:
    """Write the JSON bodies that one client sends in order."""
    (folder / str(client)).write_text("".join(json.dumps(body) + "\n" for body in bodies))


def post_command(url: str, bodies: Path, clients: int, seconds: float) -> list[str]:
    """Return a command with which each client posts its own bodies, from the first again after the last.

    Each client has its own thread, so that the script can tell whose response it sees. Idle threads are
    cheap.
    """
    load = [f"--threads={clients}", f"--connections={clients}", f"--duration={round(seconds)}s"]
    return [
        *(find_wrk(), *load, f"--timeout={TIMEOUT_SECONDS}s", f"--script={SCRIPT}"),
        *(url, "--", str(bodies)),
    ]


def run_wrk(command: list[str], seconds: float) -> str:
    """Return the output of wrk. Raises BenchmarkError if it fails or does not end after `seconds`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 2 * TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"wrk did not end after {seconds:g} seconds") from None
    if done.returncode:
        raise BenchmarkError(f"wrk failed with exit code {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
