"""How many pages a second many clients get of a server, by wrk: no Python runs between two requests."""

import re
import subprocess

from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.load import find_wrk
from benchmarks.serving.processes import HOST

CLIENTS = 16


def throughput(port: int, path: str, seconds: float, headers: dict[str, str] | None = None) -> float:
    """Good answers a second. Raises BenchmarkError when any is not good."""
    named = [f"--header={name}: {value}" for name, value in (headers or {}).items()]
    size = ["--threads=1", f"--connections={CLIENTS}", f"--duration={max(1, round(seconds))}s"]
    done = subprocess.run(
        [find_wrk(), *size, *named, f"http://{HOST}:{port}{path}"],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise BenchmarkError(f"wrk failed: {done.stderr or done.stdout}")
    return parse(done.stdout)


def parse(output: str) -> float:
    """Read wrk's report. Raises BenchmarkError when it tells of failures."""
    for line in output.splitlines():
        if "Non-2xx" in line or "Socket errors" in line:
            raise BenchmarkError(f"wrk saw failures: {line.strip()}")
    found = re.search(r"^Requests/sec:\s+([\d.]+)$", output, re.MULTILINE)
    if found is None:
        raise BenchmarkError(f"wrk said nothing of requests a second:\n{output}")
    return float(found[1])
