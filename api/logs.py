"""JSON log lines with the request id, the trace id and the model version."""

import logging
from contextvars import ContextVar
from logging.config import dictConfig

from asgi_correlation_id import correlation_id
from opentelemetry import trace
from pythonjsonlogger.core import RESERVED_ATTRS

model_version: ContextVar[str] = ContextVar("model_version")
"""The version of the model that answered this request, or this batch of the worker."""


class Context(logging.Filter):
    """Add the context of a record; no record is filtered out."""

    def filter(self, record: logging.LogRecord) -> bool:
        if request_id := correlation_id.get():
            record.request_id = request_id
        if version := model_version.get(None):
            record.model_version = version
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            record.trace_id = trace.format_trace_id(span.trace_id)
            record.span_id = trace.format_span_id(span.span_id)
        if record.name == "uvicorn.access" and isinstance(record.args, tuple):
            record.client, record.method, record.path, _, record.status = record.args
        return True


def write_json(service: str) -> None:
    """Configure all loggers of this process to write JSON to standard output."""
    inherit = {"level": "INFO", "handlers": [], "propagate": True}
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
                    "static_fields": {"service": service},
                    "reserved_attrs": [*RESERVED_ATTRS, "color_message"],
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
            "loggers": dict.fromkeys(
                ("api", "uvicorn", "uvicorn.access", "uvicorn.error", "__main__"), inherit
            ),
        }
    )
