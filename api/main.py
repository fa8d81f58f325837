"""The application: `uvicorn --factory api.main:create_app`."""

import asyncio
import logging
import multiprocessing
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import httpx
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from api import errors, logs, settings
from api.bento.client import BentoClient
from api.bento.transport import direct_transport
from api.database import create_engine, create_sessions
from api.headers import DefaultHeaders, HeadAsGet
from api.limits import Limit
from api.metrics import RequestMetrics
from api.routes import analyze, docs, health, metrics, movies, reviews

log = logging.getLogger(__name__)

CORS_REQUEST_HEADERS = [
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID")
]
CORS_RESPONSE_HEADERS = [
    *("Content-Location", "ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After"),
    "X-Request-ID",
]

UVICORN_STARTUP_FAILURE = 3
"""The exit status after which uvicorn does not start a worker again."""


class Api(FastAPI):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Apply what also concerns responses of Starlette's error handler, which no middleware can wrap."""
        await HeadAsGet(DefaultHeaders(super().__call__))(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return FastAPI's document, with problems instead of its own error schemas."""
        if self.openapi_schema is None:
            document = super().openapi()
            for path in document["paths"].values():
                for operation in path.values():
                    _as_problems(operation["responses"])
            for unused in ("HTTPValidationError", "ValidationError"):
                document["components"]["schemas"].pop(unused, None)
        return super().openapi()


def _as_problems(responses: dict[str, Any]) -> None:
    for status in [status for status in responses if status >= "400"]:
        media = responses[status]["content"]["application/json"]
        if media["schema"]["$ref"].endswith("/HTTPValidationError"):
            # FastAPI adds this to every route with parameters; routes that can answer 422 declare it.
            del responses[status]
        else:
            responses[status]["content"] = {errors.MEDIA_TYPE: media}


def create_app(
    config: settings.Settings | None = None, bento_transport: httpx.AsyncBaseTransport | None = None
) -> FastAPI:
    """Build the application, without connecting to anything.

    Without `config`, read the environment and also configure logging and tracing of the process.
    """
    if config is None:
        _refuse_workers()
        return _create_process_app(settings.load())
    app = Api(
        title="Movie Review Service",
        version=version("movie-review-service"),
        description="Movie reviews, with the sentiment that a model finds in them.",
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's pages load scripts from a CDN; see api.routes.docs
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        # Behind a proxy, the URL of a redirect would have the wrong host.
        redirect_slashes=False,
    )
    app.state.engine = create_engine(config)
    app.state.sessions = create_sessions(app.state.engine)
    app.state.bento = BentoClient(config, bento_transport)
    app.state.metrics_token = config.metrics_token
    app.state.backlog = metrics.Backlog()
    app.state.limits = {
        "read": Limit.parse("read", config.api_limit_read),
        "analyze": Limit.parse("analyze", config.api_limit_analyze),
        "write": Limit.parse("write", config.api_limit_write),
    }
    app.state.public_read = config.api_public_read
    app.state.body_timeout = config.api_body_timeout_seconds
    app.state.large_bodies = asyncio.Semaphore(1)
    errors.install(app)
    _add_middleware(app, config)
    for routes in (reviews, movies, analyze, health, docs, metrics):
        app.include_router(routes.router)
    return app


def _refuse_workers() -> None:
    """End a worker process of uvicorn: a scrape of /metrics would reach one of them at random.

    prometheus_client's multiprocess mode supports no `Gauge.set_function`, which the API uses.
    `--reload` also starts a process, but only one.
    """
    if multiprocessing.parent_process() and "--reload" not in sys.argv:
        print(
            "/metrics would count one of several workers at random: set no --workers or WEB_CONCURRENCY, "
            "and run several containers or ports, each of which Prometheus scrapes",
            file=sys.stderr,
        )
        raise SystemExit(UVICORN_STARTUP_FAILURE)


def _create_process_app(config: settings.Settings) -> FastAPI:
    """Configure logging and tracing of this process, then build the application."""
    if config.log_format == "json":
        logs.write_json("api")
    if os.environ.get("FORWARDED_ALLOW_IPS") == "*":
        log.warning(
            "FORWARDED_ALLOW_IPS=* lets every client choose the address that its rate limits count: "
            "list the proxies instead"
        )
    if not config.otel_exporter_otlp_endpoint:
        return create_app(config)
    from api import tracing

    tracing.send_spans(config, "api")
    app = create_app(config, tracing.traced(direct_transport()))
    tracing.trace_requests(app)
    return app


def _add_middleware(app: FastAPI, config: settings.Settings) -> None:
    """Add the middleware, innermost first."""
    # Level 9 doubles the time, to that of the route itself, and saves a tenth of the size.
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)
    if config.api_cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.api_cors_origins,
            allow_methods=errors.METHODS,
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_RESPONSE_HEADERS,
        )
    app.add_middleware(RequestMetrics)
    app.add_middleware(CorrelationIdMiddleware, validator=_is_request_id)


def _is_request_id(value: str) -> bool:
    """Whether a client's id is safe in a log line; otherwise it is replaced."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,128}", value) is not None


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.openapi()  # takes 0.1 s, which the first request with a query parameter would wait for
    yield
    await app.state.bento.aclose()
    await app.state.engine.dispose()
