"""Measure the engine alone, without a server.

Arguments: SERVING TEXTS SECONDS. TEXTS is a JSON file with a list of texts. Prints a JSON object with two
results: `single`, for one text at a time, is the limit of what one client can get, and `batch`, for many
texts in each call, is the limit of the machine. Each result is a Load with `cpu_seconds`, `peak_mebibytes`
and `start_seconds`, which is the time for loading and warm-up.
"""

import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.latency import percentile
from benchmarks.serving.load import Load
from bentos.sentiment.engine import Engine

BATCH = 128
"""Texts in one call. The engine sorts them by length and splits them into smaller batches."""


def measure(engine: Engine, texts: list[str], size: int, seconds: float) -> dict[str, float]:
    """Classify `size` texts in each call for `seconds`, or until there are no more texts."""
    latencies: list[float] = []
    done = 0
    started, cpu_before = time.perf_counter(), time.process_time()
    for batch in batches(texts, size):
        before = time.perf_counter()
        engine.probabilities(batch)
        latencies.append(time.perf_counter() - before)
        done += len(batch)
        if time.perf_counter() - started > seconds:
            break
    elapsed = time.perf_counter() - started
    latencies.sort()
    percentiles = (percentile(latencies, share) for share in (0.50, 0.95, 0.99))
    load = Load(done / elapsed, done, 0, 0, *percentiles)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**asdict(load), "cpu_seconds": time.process_time() - cpu_before, "peak_mebibytes": peak}


def batches(texts: list[str], size: int) -> list[list[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def main(serving: Path, file: Path, seconds: float) -> None:
    texts: list[str] = json.loads(file.read_text(encoding="utf-8"))
    started = time.perf_counter()
    engine = Engine(serving)
    engine.warm_up()
    start = {"start_seconds": time.perf_counter() - started}
    half = len(texts) // 2
    single = measure(engine, texts[:half], 1, seconds)
    batch = measure(engine, texts[half:], BATCH, seconds)
    print(json.dumps({"single": single | start, "batch": batch | start}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
