"""Measures the throughput of one page with many clients, using wrk."""

import re

from benchmarks.command import BenchmarkError
from benchmarks.processes import HOST
from benchmarks.wrk import find_wrk, run_wrk

CLIENTS = 16


def throughput(port: int, path: str, seconds: float, headers: dict[str, str] | None = None) -> float:
    """Return responses per second. Raises BenchmarkError if any request fails."""
    options = [f"--header={name}: {value}" for name, value in (headers or {}).items()]
    load = ["--threads=1", f"--connections={CLIENTS}", f"--duration={max(1, round(seconds))}s"]
    return parse(run_wrk([find_wrk(), *load, *options, f"http://{HOST}:{port}{path}"], seconds))


def parse(output: str) -> float:
    """Return the requests per second in wrk's report. Raises BenchmarkError if it reports failures."""
    for line in output.splitlines():
        if "Non-2xx" in line or "Socket errors" in line:
            raise BenchmarkError(f"wrk reports failures: {line.strip()}")
    found = re.search(r"^Requests/sec:\s+([\d.]+)$", output, re.MULTILINE)
    if found is None:
        raise BenchmarkError(f"wrk reports no requests per second:\n{output}")
    return float(found[1])
