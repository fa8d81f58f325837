"""Runs the exported model on the CPU with OpenVINO."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from bentos.sentiment.cores import usable_cores
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
