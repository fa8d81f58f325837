"""Settings of the Bento and of `promote`, from the environment or .env at the project root."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
"""The folder that contains bentos/: the checkout, or src/ inside a built Bento."""


def sqlite_url(path: Path) -> str:
    """Return SQLAlchemy's URL, in which a percent sign or a question mark in the path must be quoted."""
    return f"sqlite:///{path}".replace("%", "%25").replace("?", "%3F")


class Settings(BaseSettings):
    """Each field is one environment variable; the environment overrides .env.

    Variables are named SENTIMENT_<FIELD>, except those shared with other programs, such as
    MLFLOW_TRACKING_URI.
    """

    model_config = SettingsConfigDict(
        env_prefix="SENTIMENT_", env_file=ROOT / ".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    tracking_uri: str = Field(
        default=sqlite_url(ROOT / "var" / "mlflow.db"),
        validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "tracking_uri"),
        description="The MLflow server or SQLite database with the model registry.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        validation_alias=AliasChoices("LOG_FORMAT", "log_format"),
        description="Format of log lines; text is BentoML's own format.",
    )
    otlp_endpoint: str = Field(
        default="",
        pattern=r"^(https?://.+)?$",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"),
        description="OTLP/HTTP endpoint for spans, such as http://127.0.0.1:4318; empty disables tracing.",
    )
    traces_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        validation_alias=AliasChoices("OTEL_TRACES_SAMPLER_ARG", "traces_share"),
        description="Share of requests that are traced; a parent span in the request overrides it.",
    )
    registry_timeout_seconds: int = Field(
        default=5, ge=1, description="Timeout of one request to MLflow; a failed request is retried once."
    )
    fetch_seconds: float = Field(
        default=600.0,
        gt=0,
        description="Time limit for fetching a champion; after it the last one is served.",
    )
    poll_seconds: float = Field(
        default=5.0,
        ge=0,
        description="Interval at which an MLflow server is polled for the champion; 0 looks at startup only.",
    )
    workers: int = Field(
        default=1, ge=1, description="Worker processes, each with its own copy of the model."
    )
    max_batch_size: int = Field(
        default=64, ge=2, description="Maximum number of texts in a batch; the rest wait for the next batch."
    )
    max_latency_ms: int = Field(
        default=10_000,
        ge=1,
        description="Deadline in the queue: a request still queued after this time is answered 503. A request"
        " expected to wait longer than half of it is answered 429 at once.",
    )
    timeout_seconds: float = Field(
        default=15.0, gt=0, description="A request not answered within this time is answered 504."
    )
    max_concurrency: int = Field(
        default=256, ge=1, description="Maximum number of concurrent requests; further ones are answered 429."
    )
    max_body_bytes: int = Field(
        default=8 * 2**20, ge=1, description="Maximum size of a request body; a larger one is answered 413."
    )
    max_total_body_bytes: int = Field(
        default=64 * 2**20,
        ge=1,
        description="Maximum size of the bodies of all concurrent requests of a worker; beyond it they are"
        " answered 429.",
    )
    cache_texts: int = Field(
        default=10_000, ge=0, description="Number of predictions cached by text; 0 disables the cache."
    )
    max_texts: int = Field(
        default=64, ge=1, description="Maximum number of texts in a request; more are answered 400."
    )
    max_text_chars: int = Field(
        default=20_000,
        ge=1,
        description="Maximum number of characters in a text; a longer one gets an error instead of a label.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="Inference threads per worker; 0 divides the CPU cores among the workers.",
    )
    promote_max_accuracy_drop: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Maximum accuracy that a candidate may be below the champion, on the same reviews.",
    )
    promote_max_accuracy_loss: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Maximum accuracy that a candidate may lose through its export to the served form.",
    )
    promote_max_latency_ratio: float = Field(
        default=1.25, gt=0, description="Maximum latency of a candidate, as a multiple of the champion's."
    )
    promote_max_size_ratio: float = Field(
        default=1.5, gt=0, description="Maximum size of a candidate's files, as a multiple of the champion's."
    )
