"""Spans of what a request or a batch of the worker does. Imported only where they are sent: it is large."""

from importlib.metadata import version

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
"""Addresses that are asked all the time."""

LONGEST_SECONDS = 2
"""Of one try to send spans, repeats included: a process that ends waits for the last one."""


class Beginnings(Sampler):
    """A share of what begins a trace: a request or a batch, and no statement of what is not traced."""

    def __init__(self, share: float) -> None:
        self._share = TraceIdRatioBased(share)

    def should_sample(self, parent_context, trace_id, name, kind=None, *more, **named):  # type: ignore[no-untyped-def]
        if kind is trace.SpanKind.CLIENT:
            return SamplingResult(Decision.DROP)
        return self._share.should_sample(parent_context, trace_id, name, kind, *more, **named)

    def get_description(self) -> str:
        return f"Beginnings of {self._share.get_description()}"


def send_spans(config: Settings, service: str) -> None:
    """Have the spans of this process sent, by a thread: nobody waits for a collector that is away.

    Before the process connects to anything.
    """
    resource = Resource.create({SERVICE_NAME: service, SERVICE_VERSION: version("movie-review-service")})
    sampler = ParentBased(Beginnings(config.otel_traces_sampler_arg))
    provider = TracerProvider(sampler, resource)
    address = f"{config.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(address, timeout=LONGEST_SECONDS)))
    trace.set_tracer_provider(provider)
    # opentelemetry-instrumentation-sqlalchemy refuses SQLAlchemy 2.1; below it is asyncpg in any case.
    AsyncPGInstrumentor().instrument()  # type: ignore[no-untyped-call]


def trace_requests(app: FastAPI) -> None:
    FastAPIInstrumentor.instrument_app(app, excluded_urls=UNTRACED, exclude_spans=["receive", "send"])


def traced(
    transport: httpx.AsyncBaseTransport, provider: TracerProvider | None = None
) -> httpx.AsyncBaseTransport:
    """The way to the Bento; the trace goes with each request (W3C, `traceparent`)."""
    return AsyncOpenTelemetryTransport(transport, tracer_provider=provider, request_hook=_link)


async def _link(span: trace.Span, _: RequestInfo) -> None:
    """A request is in the trace of the first caller whose texts it has, and linked to the others'."""
    for context in other_callers.get(()):
        span.add_link(context.run(trace.get_current_span).get_span_context())
