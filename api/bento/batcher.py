"""Coalesces concurrent calls into few requests, because a request costs the Bento as much as a short text."""

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from api.errors import UnavailableError

Result = TypeVar("Result")

DECAY = 0.9
"""Weight of past requests in the throughput estimate, per request; it adapts within about ten requests."""


other_callers: ContextVar[Sequence[Context]] = ContextVar("other_callers")
"""Set while a batch is sent: the contexts of its callers except the first, which is the current context."""


@dataclass(slots=True, eq=False)
class Job(Generic[Result]):
    """The texts of one caller and the future that receives their results."""

    texts: Sequence[str]
    results: asyncio.Future[list[Result]]
    context: Context = field(default_factory=copy_context)


class Batcher(Generic[Result]):
    """Sends pending texts whenever fewer than `max_requests` are in flight, up to `max_texts` in one batch.

    A text is never delayed to fill a batch. A job whose caller was cancelled before it was sent is dropped.
    `send` returns one result per text, in order; an exception from it is raised in every caller of the batch.
    It runs in the context of the batch's first caller, so that logs and traces carry that request's id.
    At most `max_pending` texts are queued or in flight (a bulkhead).
    """

    def __init__(
        self,
        send: Callable[[list[str]], Coroutine[Any, Any, Sequence[Result]]],
        max_requests: int,
        max_texts: int,
        max_seconds: float,
        max_pending: int,
    ) -> None:
        self._send = send
        self._max_requests, self._max_texts, self._max_seconds = max_requests, max_texts, max_seconds
        self._max_pending = max_pending
        self._queue: deque[Job[Result]] = deque()
        self._senders: set[asyncio.Task[None]] = set()
        self._pending_texts = 0
        self._recent_texts = self._recent_seconds = 0.0

    @property
    def pending_texts(self) -> int:
        """Number of texts queued or in flight."""
        return self._pending_texts

    async def submit(self, texts: Sequence[str]) -> list[Result]:
        """Return the results of these texts, in order. Raises UnavailableError when the queue is full."""
        if self._is_full(len(texts)):
            raise UnavailableError(
                "The sentiment model is busy; try again later.", max(1, math.ceil(self._estimated_seconds()))
            )
        job = Job[Result](texts, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        # The set may still hold a task that has just finished and will not look at the queue again.
        if sum(not task.done() for task in self._senders) < self._max_requests:
            task = asyncio.create_task(self._send_batches())
            self._senders.add(task)
            task.add_done_callback(self._senders.discard)
        self._pending_texts += len(texts)
        try:
            return await job.results
        finally:
            self._pending_texts -= len(texts)

    async def aclose(self) -> None:
        """Cancel all queued and in-flight texts, and their callers."""
        for job in self._queue:
            job.results.cancel()
        tasks = list(self._senders)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_batches(self) -> None:
        while jobs := self._next_batch():
            texts = [text for job in jobs for text in job.texts]
            began = asyncio.get_running_loop().time()
            try:
                # This task inherited the context of the caller that started it, which may have left by now.
                first, *others = (job.context for job in jobs)
                first.run(other_callers.set, others)
                results = iter(await asyncio.create_task(self._send(texts), context=first))
            except asyncio.CancelledError:
                for job in jobs:
                    job.results.cancel()
                raise
            except Exception as error:
                for job in jobs:
                    if not job.results.done():
                        job.results.set_exception(error)
            else:
                self._record(len(texts), asyncio.get_running_loop().time() - began)
                for job in jobs:
                    own = list(itertools.islice(results, len(job.texts)))
                    if not job.results.done():
                        job.results.set_result(own)

    def _next_batch(self) -> list[Job[Result]]:
        """Take jobs in order of arrival while they fit; the first is taken whatever its size."""
        jobs: list[Job[Result]] = []
        room = self._max_texts
        while self._queue and (not jobs or len(self._queue[0].texts) <= room):
            job = self._queue.popleft()
            if not job.results.done():
                jobs.append(job)
                room -= len(job.texts)
        return jobs

    def _record(self, texts: int, seconds: float) -> None:
        self._recent_texts = DECAY * self._recent_texts + texts
        self._recent_seconds = DECAY * self._recent_seconds + seconds

    def _is_full(self, more: int) -> bool:
        # The estimate needs answers. When the Bento gives none, the number of texts is the only limit.
        is_backlog = self._pending_texts >= 2 * self._max_texts
        too_slow = is_backlog and self._estimated_seconds() > self._max_seconds
        return too_slow or self._pending_texts + more > self._max_pending

    def _estimated_seconds(self) -> float:
        """Time to finish all pending texts at the recent throughput, with `max_requests` in parallel."""
        if not self._recent_texts:
            return 0.0
        return self._pending_texts * self._recent_seconds / self._recent_texts / self._max_requests
