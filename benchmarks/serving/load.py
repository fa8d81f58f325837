"""The load: wrk with a Lua script, and what its answers come to. No Python runs between two requests."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.errors import BenchmarkError

SCRIPT = Path(__file__).with_name("load.lua")
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw. Latencies in seconds, of good answers only."""

    throughput: float  # good answers a second
    answers: int
    errors: int  # other statuses, and connections refused, broken or timed out
    repeats: int  # requests whose text was sent before: 0 unless a contender outran the texts
    p50: float
    p95: float
    p99: float


def find_wrk() -> str:
    """The load generator's path. Raises BenchmarkError when it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkError(
            "the load generator wrk is missing: `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk`"
        )
    return found


def generate(
    url: str, texts: Sequence[str], body: Callable[[str], object], clients: int, seconds: float
) -> Load:
    """Let `clients` clients ask one text after the other for `seconds`, each text once if they suffice."""
    clients = min(clients, len(texts))
    with tempfile.TemporaryDirectory(prefix="wrk-") as folder:
        for client in range(clients):
            lines = (json.dumps(body(text)) + "\n" for text in texts[client::clients])
            Path(folder, str(client)).write_text("".join(lines))
        # A thread a client, so that the script knows whose answer it sees; asleep, a thread costs nothing.
        size = [f"--threads={clients}", f"--connections={clients}", f"--duration={round(seconds)}s"]
        command = [
            find_wrk(),
            *size,
            f"--timeout={TIMEOUT_SECONDS}s",
            f"--script={SCRIPT}",
            url,
            "--",
            folder,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    if done.returncode:
        raise BenchmarkError(f"wrk failed with exit code {done.returncode}: {done.stderr or done.stdout}")
    return parse(done.stdout, seconds, len(texts))


def parse(output: str, seconds: float, texts: int) -> Load:
    """Read what load.lua prints: `answer <start> <end> <status>` in microseconds, and `sockets <errors>`.

    Throughput is counted up to the last answer: a slow server answers 16 at once every second, and how many
    are half done when the clock stops is luck. If nothing came in the second half, it is counted up to the
    end, because then the server was stuck.
    """
    rows = [line.split()[1:] for line in output.splitlines() if line.startswith(("answer ", "sockets "))]
    answers = [(int(row[0]), int(row[1]), int(row[2])) for row in rows if len(row) == 3]
    sockets = sum(int(row[0]) for row in rows if len(row) == 1)
    good = [(start, end) for start, end, status in answers if 200 <= status < 300]
    latencies = sorted((end - start) / 1e6 for start, end in good)
    last = (max(end for _, end in good) - min(start for start, _, _ in answers)) / 1e6 if good else 0.0
    return Load(
        throughput=len(good) / (last if last > seconds / 2 else seconds),
        answers=len(good),
        errors=len(answers) - len(good) + sockets,
        repeats=max(0, len(answers) - texts),
        p50=percentile(latencies, 0.50),
        p95=percentile(latencies, 0.95),
        p99=percentile(latencies, 0.99),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of ordered values; NaN of none."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
