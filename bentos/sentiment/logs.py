"""JSON log lines with the request id, the trace and the version of the served model."""

import logging
from logging.config import dictConfig

from asgi_correlation_id import correlation_id
from opentelemetry import trace
from pythonjsonlogger.core import RESERVED_ATTRS


class Context(logging.Filter):
    """Add context to every record; reject none."""

    model_version: str | None = None
    """Version served by this worker; None in the parent of the workers."""

    def filter(self, record: logging.LogRecord) -> bool:
        if request_id := correlation_id.get():
            record.request_id = request_id
        else:
            # BentoML sets it to its span id, which the line contains as span_id.
            record.__dict__.pop("request_id", None)
        if self.model_version:
            record.model_version = self.model_version
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            record.trace_id = trace.format_trace_id(span.trace_id)
            record.span_id = trace.format_span_id(span.span_id)
        return True


def write_json() -> None:
    """Configure logging of this process: JSON lines on standard output."""
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
