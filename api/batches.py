"""Many callers' texts in few requests, because a request costs the Bento as much as a short text does."""

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

MEMORY = 0.9
"""What of its past the pace keeps with each request: it follows a change within some ten requests."""


company: ContextVar[Sequence[Context]] = ContextVar("company")
"""Where texts are sent: the contexts of their callers but for the first, which is the current one."""


@dataclass(slots=True, eq=False)
class Job(Generic[Result]):
    """What one caller asked, and where it waits for the answer."""

    texts: Sequence[str]
    results: asyncio.Future[list[Result]]
    context: Context = field(default_factory=copy_context)


class Batches(Generic[Result]):
    """Sends what waits as soon as fewer than `requests` are on their way, up to `most_texts` together.

    Nothing is held back for company, and whose caller is gone is not sent. `send` gives one result a text, in
    order; what it raises goes to each caller whose texts it had. It runs in the context of the first of them,
    and so under the id of that one's request. Whatever it does, at most `most_waiting` texts are here at one
    time: the bulkhead.
    """

    def __init__(
        self,
        send: Callable[[list[str]], Coroutine[Any, Any, Sequence[Result]]],
        requests: int,
        most_texts: int,
        most_seconds: float,
        most_waiting: int,
    ) -> None:
        self._send = send
        self._requests, self._most_texts, self._most_seconds = requests, most_texts, most_seconds
        self._most_waiting = most_waiting
        self._waiting: deque[Job[Result]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._texts = 0  # waiting or under way
        self._recent_texts = self._recent_seconds = 0.0

    @property
    def texts(self) -> int:
        """How many wait or are under way."""
        return self._texts

    async def ask(self, texts: Sequence[str]) -> list[Result]:
        """The results of these texts, in order. Raises UnavailableError when too much waits already."""
        if self._is_full(len(texts)):
            raise UnavailableError(
                "The sentiment model is busy; try again.", max(1, math.ceil(self._seconds()))
            )
        job = Job[Result](texts, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        # A task that has just ended is still among them, and would take nothing more.
        if sum(not task.done() for task in self._under_way) < self._requests:
            task = asyncio.create_task(self._work())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        self._texts += len(texts)
        try:
            return await job.results
        finally:
            self._texts -= len(texts)

    async def aclose(self) -> None:
        """Cancel what is under way and what waits; the callers are cancelled too."""
        for job in self._waiting:
            job.results.cancel()
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while jobs := self._take():
            texts = [text for job in jobs for text in job.texts]
            began = asyncio.get_running_loop().time()
            try:
                # This task is in the context of whoever came when there was none.
                first, *others = (job.context for job in jobs)
                first.run(company.set, others)
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
                self._keep_pace(len(texts), asyncio.get_running_loop().time() - began)
                for job in jobs:
                    own = list(itertools.islice(results, len(job.texts)))
                    if not job.results.done():
                        job.results.set_result(own)

    def _take(self) -> list[Job[Result]]:
        """The next jobs in the order they came, as many as fit; one is taken whatever its size."""
        jobs: list[Job[Result]] = []
        room = self._most_texts
        while self._waiting and (not jobs or len(self._waiting[0].texts) <= room):
            job = self._waiting.popleft()
            if not job.results.done():
                jobs.append(job)
                room -= len(job.texts)
        return jobs

    def _keep_pace(self, texts: int, seconds: float) -> None:
        self._recent_texts = MEMORY * self._recent_texts + texts
        self._recent_seconds = MEMORY * self._recent_seconds + seconds

    def _is_full(self, more: int) -> bool:
        # The pace speaks of answers; of a Bento that gives none, the number of texts does.
        too_slow = self._texts >= 2 * self._most_texts and self._seconds() > self._most_seconds
        return too_slow or self._texts + more > self._most_waiting

    def _seconds(self) -> float:
        """How long what waits or is under way will take, with every request's place taken."""
        if not self._recent_texts:
            return 0.0
        return self._texts * self._recent_seconds / self._recent_texts / self._requests
