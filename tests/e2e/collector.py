"""A receiver of OpenTelemetry spans: OTLP over HTTP."""

import gzip
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started: int  # nanoseconds
    ended: int

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.started) / 1e6


class Collector:
    """A context manager that listens at `url` and collects received spans in `spans`, whole in `bodies`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        spans, bodies = self.spans, self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] else body)
                spans.extend(read(bodies[-1]))
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def trace(self, trace_id: str, *names: str) -> list[Span]:
        """Wait for spans of these names in a trace, then return all its spans by start time.

        Child spans of the same process have then arrived as well, since they end before their parent.
        """
        deadline = time.monotonic() + 120
        while True:
            found = [span for span in self.spans if span.trace_id == trace_id]
            if {span.name for span in found} >= set(names):
                return sorted(found, key=lambda span: span.started)
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def read(body: bytes) -> list[Span]:
    """Parse the body of an export request."""
    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                found.append(
                    Span(
                        attributes["service.name"],
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                    )
                )
    return found


def tree(spans: list[Span], parent: str = "", depth: int = 0) -> str:
    """Format spans as an indented tree, for the output of a failed test."""
    known = {span.span_id for span in spans}
    lines = []
    for span in spans:
        if span.parent_id == parent or (not depth and span.parent_id not in known):
            lines.append(f"{'  ' * depth}{span.service}: {span.name} {span.milliseconds:.1f} ms\n")
            lines.append(tree(spans, span.span_id, depth + 1))
    return "".join(lines)
