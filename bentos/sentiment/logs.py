"""Log lines as JSON, each with the request and the trace that it belongs to, and the model that is served."""

import logging
from logging.config import dictConfig

from asgi_correlation_id import correlation_id
from opentelemetry import trace
from pythonjsonlogger.core import RESERVED_ATTRS


class Context(logging.Filter):
    """Adds what the line belongs to, and lets every line through."""

    model_version: str | None = None
    """What this process serves; the parent of the workers serves nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        if request_id := correlation_id.get():
            record.request_id = request_id
        else:
            # BentoML sets it to the id of its span, and a line has that already.
            record.__dict__.pop("request_id", None)
        if self.model_version:
            record.model_version = self.model_version
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            record.trace_id = trace.format_trace_id(span.trace_id)
            record.span_id = trace.format_span_id(span.span_id)
        return True


def write_json() -> None:
    """Have this process write all of its lines so, to standard output."""
    level = {"level": "INFO", "handlers": [], "propagate": True}
    dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"context": {"()": Context}},
            "formatters": {
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "fmt": ["levelname", "name", "message"],
                    "rename_fields": {"levelname": "level", "name": "logger"},
                    "timestamp": "time",
                    "static_fields": {"service": "bento"},
                    "reserved_attrs": RESERVED_ATTRS,
                }
            },
            "handlers": {
                "stdout": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stdout",
                    "filters": ["context"],
                    "formatter": "json",
                }
            },
            "root": {"level": "WARNING", "handlers": ["stdout"]},
            "loggers": {"bentoml": level, "uvicorn.error": level | {"level": "WARNING"}},
        }
    )
