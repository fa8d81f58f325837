"""Processor time and peak memory of a ProcessTree."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.processes import ProcessTree

SAMPLE_SECONDS = 0.5
MEBIBYTE = 2**20


@dataclass
class ResourceUsage:
    cpu_seconds: float = 0.0
    peak_mebibytes: float = 0.0


@contextlib.contextmanager
def measure_usage(tree: ProcessTree) -> Iterator[ResourceUsage]:
    """Measure the usage of the tree's processes while the block runs; the result is complete at its end."""
    usage, ended = ResourceUsage(), threading.Event()
    processes = tree.processes()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            usage.peak_mebibytes = max(usage.peak_mebibytes, mebibytes(processes))

    cpu_before = cpu_seconds(processes)
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield usage
    finally:
        ended.set()
        sampler.join()
        usage.cpu_seconds = cpu_seconds(processes) - cpu_before
        usage.peak_mebibytes = max(usage.peak_mebibytes, mebibytes(processes))


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def mebibytes(processes: Sequence[psutil.Process]) -> float:
    """Return the proportional set size (PSS), which counts shared memory once, or the RSS if not on Linux."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total / MEBIBYTE
