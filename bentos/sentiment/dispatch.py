"""BentoML's adaptive batching, without its guesses."""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from _bentoml_impl.server.app import ServiceAppFactory  # type: ignore[import-untyped]
from _bentoml_sdk import Service  # type: ignore[import-untyped]
from asgi_correlation_id import CorrelationIdMiddleware
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.marshal.dispatcher import CorkDispatcher, Job
from bentoml._internal.server.http.traffic import MaxConcurrencyMiddleware, TimeoutMiddleware
from bentoml.exceptions import ServiceUnavailable
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.middleware import Middleware

from bentos.sentiment import logs, metrics
from bentos.sentiment.admission import Admission
from bentos.sentiment.settings import Settings

T = TypeVar("T")
TextJob = Job[Sequence[str], Sequence[Any]]

MEMORY = 0.9
"""What of its past the pace keeps with each batch: it follows a change of load within some ten batches."""


class Eager(CorkDispatcher[Sequence[str], Sequence[Any]]):
    """Send a batch off as soon as the engine is free: what arrives meanwhile is the next batch.

    BentoML's own controller guesses from the last 50 batches. It guesses how long to hold a batch back: after
    a burst, a lone request is held as long as the burst's requests waited, 150 ms and more, for minutes. And
    it guesses how long the queue will take, counting requests and not texts: after a few requests of 64
    texts, short ones get 503 that would be done in time. Here nothing is held back, 503 goes to a request
    that really has waited for max_latency_ms, and who has hung up is not computed.
    """

    def __init__(self, max_latency_ms: int, max_batch_size: int) -> None:
        super().__init__(max_latency_ms, max_batch_size, fallback=_cancelled, get_batch_size=len)
        self._texts = 0  # waiting or being computed
        self._recent_texts = self._recent_seconds = 0.0

    def seconds(self) -> float:
        """How long what waits or is being computed will take, at the pace of the last full batches."""
        return self._texts * self._recent_seconds / self._recent_texts if self._recent_texts else 0.0

    def is_full(self) -> bool:
        """Whether a new request would wait longer than half the deadline, as the pace is not constant.

        Two batches are always let in: one slow batch must not close the door.
        """
        return self._texts >= 2 * self.max_batch_size and self.seconds() > self.max_latency / 2

    async def controller(self) -> None:
        while True:
            async with self._wake_event:
                await self._wake_event.wait_for(self._queue.__len__)
            self._drop_late_and_cancelled()
            if self._queue:
                await self.outbound_call(tuple(self._get_inputs()))

    async def inbound_call(self, data: Sequence[str]) -> Sequence[Any] | Exception:
        if self.is_full():  # it was not when the request began to come in
            return ServiceUnavailable("too many texts are waiting")
        self._texts += len(data)
        metrics.TEXTS_WAITING.inc(len(data))
        try:
            return await super().inbound_call(data)
        finally:
            self._texts -= len(data)
            metrics.TEXTS_WAITING.dec(len(data))

    async def outbound_call(self, inputs_info: tuple[TextJob, ...], training: bool = False) -> None:
        started = time.perf_counter()
        await super().outbound_call(inputs_info, training)
        texts = sum(len(job.data) for job in inputs_info)
        if texts < self.max_batch_size / 2:  # a lone text takes several times its share of a batch
            return
        self._recent_texts = MEMORY * self._recent_texts + texts
        self._recent_seconds = MEMORY * self._recent_seconds + time.perf_counter() - started

    def _drop_late_and_cancelled(self) -> None:
        oldest = time.time() - self.max_latency
        for job in self._queue:
            if job.enqueue_time < oldest and not job.future.done():
                job.future.set_result(ServiceUnavailable("not computed in time"))
        live = [job for job in self._queue if not job.future.done()]
        self._queue.clear()
        self._queue.extend(live)


def _cancelled() -> NoReturn:
    """What a request does whose task is cancelled while it waits: end, without an answer or a log line."""
    raise asyncio.CancelledError


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not 503: overload is counted, and thousands of stack traces would add to it."""
    return not (record.exc_info and isinstance(record.exc_info[1], ServiceUnavailable))


def is_request_id(value: str) -> bool:
    """What may go into a log line: anything else is replaced."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,128}", value) is not None


class AppFactory(ServiceAppFactory):  # type: ignore[misc]
    """BentoML's application of a service, with our dispatcher, and our admission around all of it."""

    def __init__(self, service: Service[Any], is_main: bool) -> None:
        super().__init__(service, is_main=is_main)
        [(name, method)] = service.apis.items()
        self._queue = Eager(method.max_latency_ms, method.max_batch_size)
        self.dispatchers = {name: self._queue}
        if Settings().log_format == "json":
            logs.write_json()
        logging.getLogger("bentoml._internal.server.http_app").addFilter(is_worth_a_line)

    @property
    def middlewares(self) -> list[Middleware]:
        """BentoML's, with ours for two of them, and no spans where none are sent: a millisecond a request."""
        replaced = [TimeoutMiddleware, MaxConcurrencyMiddleware]
        if BentoMLContainer.tracing.exporter_type.get() is None:
            replaced.append(OpenTelemetryMiddleware)
        kept = [one for one in super().middlewares if one.cls not in replaced]
        for one in kept:
            if one.cls is OpenTelemetryMiddleware:
                one.kwargs["exclude_spans"] = ["receive", "send"]  # of each message of a request
        admission = Middleware(
            Admission,
            queue=self._queue,
            limit=self.max_concurrency,
            body_bytes=Settings().max_body_bytes,
            seconds=self.timeout,
        )
        request_id = Middleware(CorrelationIdMiddleware, validator=is_request_id)
        return [request_id, admission, *kept]


class EagerService(Service[T]):  # type: ignore[misc]
    """A BentoML service of one batchable method, whose batches are sent off eagerly."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """What BentoML's own does, with our factory."""
        self.inject_config()
        return AppFactory(self, is_main=is_main)()
