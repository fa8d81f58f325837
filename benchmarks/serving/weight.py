"""Processor time and memory of a family of processes."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.serving.processes import Family

SAMPLE_SECONDS = 0.5
MEBIBYTE = 2**20


@dataclass
class Weight:
    """What a family used while it was watched."""

    cpu_seconds: float = 0.0
    peak_mebibytes: float = 0.0


@contextlib.contextmanager
def weigh(family: Family) -> Iterator[Weight]:
    """Watch the family; the weight is complete when the block ends."""
    weight, ended = Weight(), threading.Event()
    members = family.members()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            weight.peak_mebibytes = max(weight.peak_mebibytes, mebibytes(members))

    began = cpu_seconds(members)
    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    try:
        yield weight
    finally:
        ended.set()
        watcher.join()
        weight.cpu_seconds = cpu_seconds(members) - began
        weight.peak_mebibytes = max(weight.peak_mebibytes, mebibytes(members))


def cpu_seconds(members: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in members:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def mebibytes(members: Sequence[psutil.Process]) -> float:
    """Memory with what processes share counted once, where the system tells (PSS, Linux); else RSS."""
    total = 0
    for process in members:
        with contextlib.suppress(psutil.Error):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
    return total / MEBIBYTE
