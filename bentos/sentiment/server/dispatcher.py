"""Batches requests like BentoML's dispatcher, but without its adaptive optimizer."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from bentoml._internal.marshal.dispatcher import CorkDispatcher, Job
from bentoml.exceptions import ServiceUnavailable

from bentos.sentiment import metrics

TextJob = Job[Sequence[str], Sequence[Any]]

DECAY = 0.9
"""Decay of the throughput estimate per batch: it adapts to a new load within about ten batches."""


class EagerDispatcher(CorkDispatcher[Sequence[str], Sequence[Any]]):
    """Start a batch as soon as the engine is free; texts that arrive meanwhile form the next batch.

    BentoML's controller estimates two things from its last 50 batches, and both estimates fail here. The
    first is how long to hold a batch back: after a burst, a single request is delayed as long as the requests
    of the burst waited, 150 ms or more, for minutes. The second is how long the queue will take, counted in
    requests instead of texts: after a few requests of 64 texts, short requests are answered 503 although they
    would finish in time. This dispatcher delays nothing, answers 503 only to requests that have waited for
    max_latency_ms, and drops requests whose client disconnected before inference.
    """

    def __init__(self, max_latency_ms: int, max_batch_size: int) -> None:
        super().__init__(max_latency_ms, max_batch_size, fallback=_cancelled, get_batch_size=len)
        self._texts = 0  # queued or in the engine
        self._recent_texts = self._recent_seconds = 0.0
        self._running: tuple[TextJob, ...] = ()

    def seconds(self) -> float:
        """Return the estimated time for all queued and running texts, at the throughput of recent batches."""
        return self._texts * self._recent_seconds / self._recent_texts if self._recent_texts else 0.0

    def is_full(self) -> bool:
        """Return whether a new request would wait longer than half the deadline, as throughput varies.

        Two batches are always admitted, so that one slow batch does not block all requests.
        """
        return self._texts >= 2 * self.max_batch_size and self.seconds() > self.max_latency / 2

    def oldest_seconds(self) -> float:
        """Return how long the oldest request has been queued or in the engine; its client may have left."""
        jobs = (*self._running, *self._queue)
        return time.time() - min(job.enqueue_time for job in jobs) if jobs else 0.0

    async def controller(self) -> None:
        while True:
            async with self._wake_event:
                await self._wake_event.wait_for(self._queue.__len__)
            self._drop_late_and_cancelled()
            if self._queue:
                await self.outbound_call(tuple(self._get_inputs()))

    async def inbound_call(self, data: Sequence[str]) -> Sequence[Any] | Exception:
        if self.is_full():  # the queue may have filled while the body was read
            return ServiceUnavailable("too many texts are queued")
        self._texts += len(data)
        metrics.TEXTS_WAITING.inc(len(data))
        try:
            return await super().inbound_call(data)
        finally:
            self._texts -= len(data)
            metrics.TEXTS_WAITING.dec(len(data))

    async def outbound_call(self, inputs_info: tuple[TextJob, ...], training: bool = False) -> None:
        started = time.perf_counter()
        self._running = inputs_info
        try:
            await super().outbound_call(inputs_info, training)
        finally:
            self._running = ()
        texts = sum(len(job.data) for job in inputs_info)
        if texts < self.max_batch_size / 2:  # small batches take several times as long per text
            return
        self._recent_texts = DECAY * self._recent_texts + texts
        self._recent_seconds = DECAY * self._recent_seconds + time.perf_counter() - started

    def _drop_late_and_cancelled(self) -> None:
        oldest = time.time() - self.max_latency
        for job in self._queue:
            if job.enqueue_time < oldest and not job.future.done():
                job.future.set_result(ServiceUnavailable("not processed before the queue deadline"))
        live = [job for job in self._queue if not job.future.done()]
        self._queue.clear()
        self._queue.extend(live)


def _cancelled() -> NoReturn:
    """End a request that is cancelled while queued, without a response or a log line."""
    raise asyncio.CancelledError
