"""`python -m benchmarks.serving.offline SERVING TEXTS SECONDS`: the bare engine, with no server around it.

TEXTS is a file with a JSON list of texts. Prints one JSON object: `lone` for one text at a time, which is
what a single client could get at best, and `bulk` for many at once, sorted by length, which is the limit of
the machine. Each is a Load with `cpu_seconds`,
`peak_mebibytes` and `start_seconds` (loading and warming up) beside it.
"""

import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.serving.load import Load, percentile
from bentos.sentiment.engine import Engine

BULK = 128
"""Texts in one call: the engine sorts them by length and cuts them into its own sub-batches."""


def measure(engine: Engine, texts: list[str], size: int, seconds: float) -> dict[str, float]:
    """Calls of `size` texts, until `seconds` are over or there are no more texts."""
    latencies: list[float] = []
    done = 0
    began, began_cpu = time.perf_counter(), time.process_time()
    for batch in chunks(texts, size):
        before = time.perf_counter()
        engine.probabilities(batch)
        latencies.append(time.perf_counter() - before)
        done += len(batch)
        if time.perf_counter() - began > seconds:
            break
    elapsed = time.perf_counter() - began
    latencies.sort()
    shares = (percentile(latencies, share) for share in (0.50, 0.95, 0.99))
    load = Load(done / elapsed, done, 0, 0, *shares)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu = time.process_time() - began_cpu
    return {**asdict(load), "cpu_seconds": cpu, "peak_mebibytes": peak}


def chunks(texts: list[str], size: int) -> list[list[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def main(serving: Path, file: Path, seconds: float) -> None:
    texts: list[str] = json.loads(file.read_text(encoding="utf-8"))
    began = time.perf_counter()
    engine = Engine(serving)
    engine.warm_up()
    started = {"start_seconds": time.perf_counter() - began}
    half = len(texts) // 2
    lone = measure(engine, texts[:half], 1, seconds)
    bulk = measure(engine, texts[half:], BULK, seconds)
    print(json.dumps({"lone": lone | started, "bulk": bulk | started}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
