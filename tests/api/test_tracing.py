"""Traces, but for what takes real processes: tests/e2e/test_observability.py."""

import asyncio

import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased

from api.bento.client import BentoClient
from api.settings import Settings
from api.tracing import RootSampler, traced
from tests.api.waiting import until

ANALYSIS = {"label": "positive", "score": 0.9, "model_version": "7", "truncated": False}
NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:1/none"


async def test_a_request_of_many_is_linked_to_the_traces_of_all() -> None:
    kept, provider, gate = InMemorySpanExporter(), TracerProvider(), asyncio.Event()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    asked: list[httpx.Request] = []

    async def bento(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        await gate.wait()
        return httpx.Response(200, json=[ANALYSIS] * request.content.count(b"Fine."))

    async def is_in_flight() -> bool:
        return bool(asked)

    settings = Settings(_env_file=None, database_url=NOWHERE, api_bento_max_requests=1)
    client = BentoClient(settings, traced(httpx.MockTransport(bento), provider))
    tracer = provider.get_tracer("callers")

    async def call(name: str) -> None:
        with tracer.start_as_current_span(name):
            await client.classify(["Fine."])

    calls = [asyncio.create_task(call("first"))]
    await until(is_in_flight)
    calls += [asyncio.create_task(call(name)) for name in ("second", "third")]
    await asyncio.sleep(0)  # both have started
    gate.set()
    await asyncio.gather(*calls)
    await client.aclose()
    spans = {span.name: span for span in kept.get_finished_spans() if span.name != "POST"}
    alone, shared = [span for span in kept.get_finished_spans() if span.name == "POST"]
    assert alone.parent == spans["first"].context
    assert not alone.links
    assert shared.parent == spans["second"].context
    assert [link.context for link in shared.links] == [spans["third"].context]
    assert shared.context is not None
    assert f"{shared.context.trace_id:032x}" in asked[1].headers["traceparent"]


def test_a_trace_begins_with_a_request_and_never_with_a_statement() -> None:
    tracer = TracerProvider(ParentBased(RootSampler(1.0))).get_tracer("test")
    with tracer.start_as_current_span("probe", kind=trace.SpanKind.CLIENT) as span:
        assert not span.is_recording()
    with (
        tracer.start_as_current_span("request", kind=trace.SpanKind.SERVER),
        tracer.start_as_current_span("statement", kind=trace.SpanKind.CLIENT) as span,
    ):
        assert span.is_recording()
    none = TracerProvider(ParentBased(RootSampler(0.0))).get_tracer("test")
    with none.start_as_current_span("request", kind=trace.SpanKind.SERVER) as span:
        assert not span.is_recording()
