"""A receiver of spans: OTLP over HTTP, as a collector takes them."""

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
    began: int
    ended: int

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.began) / 1e6


class Collector:
    """`with Collector() as collector:` it listens at `url` and keeps what comes in `spans`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                spans.extend(read(gzip.decompress(body) if self.headers["Content-Encoding"] else body))
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def trace(self, trace_id: str, *names: str) -> list[Span]:
        """The spans of a trace, once those of these names are here: processes send every five seconds.

        Those below one in the same process have then come as well: they end before it.
        """
        deadline = time.monotonic() + 60
        while True:
            found = [span for span in self.spans if span.trace_id == trace_id]
            if {span.name for span in found} >= set(names):
                return sorted(found, key=lambda span: span.began)
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
    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        words = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                found.append(
                    Span(
                        words["service.name"],
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
    """For a person: a line a span, what it did below it."""
    known = {span.span_id for span in spans}
    lines = []
    for span in spans:
        if span.parent_id == parent or (not depth and span.parent_id not in known):
            lines.append(f"{'  ' * depth}{span.service}: {span.name} {span.milliseconds:.1f} ms\n")
            lines.append(tree(spans, span.span_id, depth + 1))
    return "".join(lines)
