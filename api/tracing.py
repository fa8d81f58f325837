"""OpenTelemetry spans of requests and of the worker's batches; imported only when tracing is enabled."""

from functools import partial
from importlib.metadata import version
from typing import Any

import httpx
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport, RequestInfo
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased

from api.bento.batcher import other_callers
from api.settings import Settings

UNTRACED = "^[^/]*//[^/]*/(livez|readyz|metrics)$"
"""Health checks and scrapes, which are too frequent to trace."""

EXPORT_TIMEOUT_SECONDS = 2
"""Limit of one export including its retries; shutdown waits for the last export."""


class RootSampler(Sampler):
    """Samples a share of the root spans, and never starts a trace with a client span such as an SQL query."""

    def __init__(self, share: float) -> None:
        self._share = TraceIdRatioBased(share)

    def should_sample(self, parent_context, trace_id, name, kind=None, *more, **named):  # type: ignore[no-untyped-def]
        if kind is trace.SpanKind.CLIENT:
            return SamplingResult(Decision.DROP)
        return self._share.should_sample(parent_context, trace_id, name, kind, *more, **named)

    def get_description(self) -> str:
        return f"RootSampler({self._share.get_description()})"


class WithoutMessages(trace.TracerProvider):
    """Its spans do not record exceptions: a message of PostgreSQL may quote the text of a review.

    opentelemetry-instrumentation-asyncpg sets the status of a span itself.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    def get_tracer(self, *name: Any, **named: Any) -> trace.Tracer:
        tracer = self._provider.get_tracer(*name, **named)
        tracer.start_as_current_span = partial(  # type: ignore[method-assign]
            tracer.start_as_current_span, record_exception=False, set_status_on_exception=False
        )
        return tracer


def send_spans(config: Settings, service: str) -> None:
    """Export the spans of this process from a background thread. Call it before anything connects.

    An unreachable collector delays no request.
    """
    resource = Resource.create({SERVICE_NAME: service, SERVICE_VERSION: version("movie-review-service")})
    sampler = ParentBased(RootSampler(config.otel_traces_sampler_arg))
    provider = TracerProvider(sampler, resource)
    address = f"{config.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(address, timeout=EXPORT_TIMEOUT_SECONDS)))
    trace.set_tracer_provider(provider)
    # opentelemetry-instrumentation-sqlalchemy does not support SQLAlchemy 2.1, which uses asyncpg anyway.
    AsyncPGInstrumentor().instrument(tracer_provider=WithoutMessages(provider))  # type: ignore[no-untyped-call]


def trace_requests(app: FastAPI) -> None:
    FastAPIInstrumentor.instrument_app(app, excluded_urls=UNTRACED, exclude_spans=["receive", "send"])


def traced(
    transport: httpx.AsyncBaseTransport, provider: TracerProvider | None = None
) -> httpx.AsyncBaseTransport:
    """Wrap a transport so that it sends the trace context with each request (W3C `traceparent`)."""
    return AsyncOpenTelemetryTransport(transport, tracer_provider=provider, request_hook=_link_callers)


async def _link_callers(span: trace.Span, _: RequestInfo) -> None:
    """Link the span, which belongs to the trace of the batch's first caller, to the other callers' spans."""
    for context in other_callers.get(()):
        span.add_link(context.run(trace.get_current_span).get_span_context())
