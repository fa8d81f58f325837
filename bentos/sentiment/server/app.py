"""The ASGI application: BentoML's, with this project's dispatcher and admission control."""

import asyncio
import logging
import re
from typing import Any, TypeVar

from _bentoml_impl.server.app import ServiceAppFactory  # type: ignore[import-untyped]
from _bentoml_sdk import Service  # type: ignore[import-untyped]
from asgi_correlation_id import CorrelationIdMiddleware
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.server.http.traffic import MaxConcurrencyMiddleware, TimeoutMiddleware
from bentoml.exceptions import ServiceUnavailable
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from bentos.sentiment import logs, metrics
from bentos.sentiment.server.admission import AdmissionMiddleware
from bentos.sentiment.server.dispatcher import EagerDispatcher
from bentos.sentiment.server.paths import KnownPathsMiddleware
from bentos.sentiment.settings import Settings

T = TypeVar("T")

TIMEOUTS_UNTIL_DEAD = 4
"""/readyz fails when a request is older than SENTIMENT_TIMEOUT_SECONDS, /livez when it is this much older."""


class AppFactory(ServiceAppFactory):  # type: ignore[misc]
    """BentoML's application of a service with one batchable method."""

    def __init__(self, service: Service[Any], is_main: bool) -> None:
        super().__init__(service, is_main=is_main)
        [(name, method)] = service.apis.items()
        self._queue = EagerDispatcher(method.max_latency_ms, method.max_batch_size)
        self.dispatchers = {name: self._queue}
        if Settings().log_format == "json":
            logs.write_json()
        logging.getLogger("bentoml._internal.server.http_app").addFilter(is_not_overload)

    def __call__(self) -> Starlette:
        app: Starlette = super().__call__()
        app.add_middleware(KnownPathsMiddleware, routes=app.routes)  # outermost
        return app

    async def readyz(self, request: Request) -> Response:
        """Fail while the engine is stuck on a request whose client has given up, so that no more are sent."""
        self._require_progress_within(self.timeout)
        response: Response = await super().readyz(request)
        return response

    async def livez(self, request: Request) -> Response:
        """Fail when waiting longer has not helped, so that an orchestrator restarts the container."""
        self._require_progress_within(TIMEOUTS_UNTIL_DEAD * self.timeout)
        response: Response = await super().livez(request)
        return response

    def _require_progress_within(self, seconds: float) -> None:
        if (oldest := self._queue.oldest_seconds()) > seconds:
            raise HTTPException(503, f"a request has been unanswered for {oldest:.0f} seconds")

    async def metrics(self, request: Request) -> Response:
        """Answer /metrics. A killed worker is forgotten first: its replacement would count twice."""
        await asyncio.to_thread(metrics.forget_dead_workers)
        response: Response = await super().metrics(request)
        return response

    @property
    def middlewares(self) -> list[Middleware]:
        """BentoML's middlewares, with admission control in place of its timeout and concurrency limit.

        Without a span exporter the tracing middleware is left out: it costs a millisecond per request.
        """
        replaced = [TimeoutMiddleware, MaxConcurrencyMiddleware]
        if BentoMLContainer.tracing.exporter_type.get() is None:
            replaced.append(OpenTelemetryMiddleware)
        kept = [one for one in super().middlewares if one.cls not in replaced]
        for one in kept:
            if one.cls is OpenTelemetryMiddleware:
                one.kwargs["exclude_spans"] = ["receive", "send"]  # one span per ASGI message
        admission = Middleware(
            AdmissionMiddleware,
            queue=self._queue,
            limit=self.max_concurrency,
            body_bytes=Settings().max_body_bytes,
            total_bytes=Settings().max_total_body_bytes,
            seconds=self.timeout,
        )
        request_id = Middleware(CorrelationIdMiddleware, validator=is_request_id)
        return [request_id, admission, *kept]


class EagerService(Service[T]):  # type: ignore[misc]
    """A BentoML service with one batchable method and the eager dispatcher."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """Override BentoML's method to use `AppFactory`."""
        self.inject_config()
        return AppFactory(self, is_main=is_main)()


def is_not_overload(record: logging.LogRecord) -> bool:
    """Drop 503 from the log: overload has a metric, and thousands of tracebacks would add to it."""
    return not (record.exc_info and isinstance(record.exc_info[1], ServiceUnavailable))


def is_request_id(value: str) -> bool:
    """Return whether a client's request id is safe to log; any other id is replaced."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,128}", value) is not None
