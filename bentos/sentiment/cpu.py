"""The exported model on the CPU: OpenVINO."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from bentos.sentiment.windows import Inputs, padded

SIZES = (8, 4, 2, 1)
"""Windows in one inference. Sorted by length, eight waste little on padding; 16 or 32 are no faster."""

WIDTHS = (*range(16, 64, 16), *range(64, 256, 32), *range(256, 513, 64))
"""Tokens to which the windows of one inference are padded. OpenVINO compiles for every shape that it meets,
which takes longer than the inference, and remembers it: with every length a shape, it came to 2 GB."""

THREADS_A_STREAM = 2
"""One thread a stream would do 5 % more texts of a full queue, and take half as long again for a lone one."""


class OpenVinoModel:
    """model.xml and model.bin of `folder`, on so many threads; 0 takes every core."""

    def __init__(self, folder: Path, max_tokens: int, threads: int = 0) -> None:
        self._widths = [*(width for width in WIDTHS if width < max_tokens), max_tokens]
        threads = threads or len(os.sched_getaffinity(0))
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": max(1, threads // THREADS_A_STREAM),  # the queue feeds them all
            "INFERENCE_PRECISION_HINT": "f32",  # else the CPU decides, and machines disagree on a score
        }
        self._compiled = ov.Core().compile_model(folder / "model.xml", "CPU", config)
        self._queue = ov.AsyncInferQueue(self._compiled)

    def logits(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        """[windows, labels] of windows that come longest first."""
        logits = np.empty((len(windows), self._compiled.output(0).partial_shape[1].get_length()), np.float32)

        def collect(request: ov.InferRequest, rows: slice) -> None:
            logits[rows] = request.get_output_tensor(0).data

        self._queue.set_callback(collect)
        for rows in sub_batches(len(windows), len(self._queue)):
            self._queue.start_async(self._inputs(windows[rows]), rows)
        self._queue.wait_all()
        return logits

    def warm_up(self) -> None:
        """Meet the shapes of a lone text and of many in every stream now; the others are met in passing."""
        for width in self._widths:
            for size in (SIZES[0], SIZES[-1]):
                for _ in range(len(self._queue)):
                    self._queue.start_async(padded([[1] * width] * size, width))
                self._queue.wait_all()

    def _inputs(self, windows: Sequence[list[int]]) -> Inputs:
        return padded(windows, next(width for width in self._widths if width >= len(windows[0])))


def sub_batches(count: int, streams: int) -> Iterator[slice]:
    """Cut so many rows into sub-batches; when they are few, every stream gets some."""
    share = max(1, count // streams)
    start = 0
    while start < count:
        size = next(size for size in SIZES if size <= min(count - start, share))
        yield slice(start, start + size)
        start += size
