"""Runs the exported model on the CPU with OpenVINO."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from bentos.sentiment.windows import Inputs, padded

SIZES = (8, 4, 2, 1)
"""Batch sizes of an inference. Eight windows sorted by length need little padding; 16 or 32 are no faster."""

WIDTHS = (*range(16, 64, 16), *range(64, 256, 32), *range(256, 513, 64))
"""Lengths to which windows are padded, in tokens. OpenVINO compiles and keeps a kernel for every new input
shape, which takes longer than the inference. With one shape per length, memory grew to 2 GB."""

THREADS_PER_STREAM = 2
"""One thread per stream would give 5 % more throughput, but 50 % more latency for a single request."""


class OpenVinoModel:
    """The model in `folder`/model.xml and model.bin, run with `threads` threads; 0 uses every core."""

    device = "cpu"

    def __init__(self, folder: Path, max_tokens: int, threads: int = 0) -> None:
        self._widths = [*(width for width in WIDTHS if width < max_tokens), max_tokens]
        threads = threads or usable_cores()
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": max(1, threads // THREADS_PER_STREAM),  # all fed by one AsyncInferQueue
            "INFERENCE_PRECISION_HINT": "f32",  # otherwise precision, and so the scores, depend on the CPU
        }
        compiled = ov.Core().compile_model(folder / "model.xml", "CPU", config)
        self._labels = compiled.output(0).partial_shape[1].get_length()
        # The queue alone keeps the compiled model. Freeing that waits for its threads, which may wait for the
        # GIL: the queue releases the GIL meanwhile (since OpenVINO 2026.4), a CompiledModel does not.
        self._queue = ov.AsyncInferQueue(compiled)

    def logits(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        """Return logits [windows, labels] for windows sorted by length, longest first."""
        logits = np.empty((len(windows), self._labels), np.float32)

        def collect(request: ov.InferRequest, rows: slice) -> None:
            logits[rows] = request.get_output_tensor(0).data

        self._queue.set_callback(collect)
        for rows in sub_batches(len(windows), len(self._queue)):
            self._queue.start_async(self._inputs(windows[rows]), rows)
        self._queue.wait_all()
        return logits

    def warm_up(self) -> None:
        """Compile the largest and smallest batch of each width in every stream; the rest on first use."""
        for width in self._widths:
            for size in (SIZES[0], SIZES[-1]):
                for _ in range(len(self._queue)):
                    self._queue.start_async(padded([[1] * width] * size, width))
                self._queue.wait_all()

    def _inputs(self, windows: Sequence[list[int]]) -> Inputs:
        return padded(windows, next(width for width in self._widths if width >= len(windows[0])))


def sub_batches(count: int, streams: int) -> Iterator[slice]:
    """Split `count` rows into sub-batches, small enough that every stream gets work."""
    share = max(1, count // streams)
    start = 0
    while start < count:
        size = next(size for size in SIZES if size <= min(count - start, share))
        yield slice(start, start + size)
        start += size


def usable_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, by its affinity or its CPU quota: the lesser."""
    # macOS has no affinity.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *(math.ceil(quota) for quota in cpu_quotas(root))])


def cpu_quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quotas, in cores, of this process's cgroup and those above it. macOS has none."""
    try:
        cgroups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for cgroup in cgroups:
        _, controllers, path = cgroup.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container may see the path that its cgroup has outside; its own is then the topmost one.
        for level in (PurePosixPath(path), *PurePosixPath(path).parents):
            try:
                if controllers:  # version 1
                    folder = root / "sys/fs/cgroup/cpu" / level.relative_to("/")
                    quota = (folder / "cpu.cfs_quota_us").read_text().strip()
                    period = (folder / "cpu.cfs_period_us").read_text()
                else:
                    folder = root / "sys/fs/cgroup" / level.relative_to("/")
                    quota, period = (folder / "cpu.max").read_text().split()
            except OSError:
                continue
            if quota not in ("max", "-1"):
                yield int(quota) / int(period)
