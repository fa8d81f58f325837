"""Loads a contender with wrk in a closed loop, and evaluates the responses."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.latency import percentile
from benchmarks.wrk import post_command, run_wrk, write_bodies


@dataclass(frozen=True)
class Load:
    """The result of one run of wrk. Latencies are in seconds and of successful requests only."""

    throughput: float  # successful requests per second
    successful: int
    errors: int  # other statuses, and connections that were refused, broken or timed out
    repeats: int  # requests with a text that was sent before, if there were too few texts
    p50: float
    p95: float
    p99: float


def generate(
    url: str, texts: Sequence[str], make_body: Callable[[str], object], clients: int, seconds: float
) -> Load:
    """Run `clients` clients that send one text after another for `seconds`. Raises BenchmarkError."""
    clients = min(clients, len(texts))
    with tempfile.TemporaryDirectory(prefix="wrk-") as folder:
        for client in range(clients):
            write_bodies(Path(folder), client, (make_body(text) for text in texts[client::clients]))
        output = run_wrk(post_command(url, Path(folder), clients, seconds), seconds)
    return parse(output, seconds, len(texts))


def parse(output: str, seconds: float, texts: int) -> Load:
    """Parse the output of wrk.lua: `response START END STATUS` in microseconds, and `sockets ERRORS`.

    The throughput is counted up to the last response: a slow server may answer 16 requests at once every
    second, and it is chance how much of the next batch was done at the end. If no response came in the second
    half, the server was stuck, and the throughput is counted up to the end.
    """
    rows = [line.split()[1:] for line in output.splitlines() if line.startswith(("response ", "sockets "))]
    responses = [(int(row[0]), int(row[1]), int(row[2])) for row in rows if len(row) == 3]
    socket_errors = sum(int(row[0]) for row in rows if len(row) == 1)
    successful = [(start, end) for start, end, status in responses if 200 <= status < 300]
    latencies = sorted((end - start) / 1e6 for start, end in successful)
    first = min((start for start, _, _ in responses), default=0)
    until_last = (max((end for _, end in successful), default=first) - first) / 1e6
    return Load(
        throughput=len(successful) / (until_last if until_last > seconds / 2 else seconds),
        successful=len(successful),
        errors=len(responses) - len(successful) + socket_errors,
        repeats=max(0, len(responses) - texts),
        p50=percentile(latencies, 0.50),
        p95=percentile(latencies, 0.95),
        p99=percentile(latencies, 0.99),
    )
