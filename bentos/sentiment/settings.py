"""What serving reads from the environment, or from .env at the root of the project."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds bentos/: the checkout, or src/ inside a built Bento."""


class Settings(BaseSettings):
    """Every field is one environment variable; the environment wins over .env.

    The names are SENTIMENT_<FIELD>, but for those that others share, such as MLFLOW_TRACKING_URI.
    """

    model_config = SettingsConfigDict(
        env_prefix="SENTIMENT_", env_file=ROOT / ".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    tracking_uri: str = Field(
        default=f"sqlite:///{ROOT / 'var' / 'mlflow.db'}",
        validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "tracking_uri"),
        description="The MLflow server or database whose registry holds the model.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        validation_alias=AliasChoices("LOG_FORMAT", "log_format"),
        description="How lines of the log look: text is BentoML's own form.",
    )
    otlp_endpoint: str = Field(
        default="",
        pattern=r"^(https?://.+)?$",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"),
        description="Where spans go (OTLP over HTTP), such as http://127.0.0.1:4318; empty: there are none.",
    )
    traces_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        validation_alias=AliasChoices("OTEL_TRACES_SAMPLER_ARG", "traces_share"),
        description="The share of requests that are traced; who asks with a trace has decided that.",
    )
    registry_timeout_seconds: int = Field(
        default=5, ge=1, description="How long one request to MLflow may take; it is tried twice."
    )
    poll_seconds: float = Field(
        default=5.0,
        ge=0,
        description="How often the champion of an MLflow server is asked for; 0: only when serving starts.",
    )
    workers: int = Field(
        default=1, ge=1, description="Processes that answer requests, each with a copy of the model."
    )
    max_batch_size: int = Field(
        default=64, ge=2, description="Texts in one batch; what is over waits for the next one."
    )
    max_latency_ms: int = Field(
        default=10_000,
        ge=1,
        description="A deadline, not a wait: a request still queued after this long is answered 503; none is"
        " let in that would wait longer than half of it.",
    )
    timeout_seconds: float = Field(
        default=15.0, gt=0, description="A request not answered after this long is answered 504."
    )
    max_concurrency: int = Field(
        default=256, ge=1, description="Requests in the service at one time; the next is answered 429."
    )
    max_body_bytes: int = Field(
        default=8 * 2**20, ge=1, description="Bytes of one request; a larger one is answered 413."
    )
    cache_texts: int = Field(
        default=10_000, ge=0, description="Answers kept for texts that come again; 0 keeps none."
    )
    max_texts: int = Field(default=64, ge=1, description="Texts in one request; more are answered 400.")
    max_text_chars: int = Field(
        default=20_000, ge=1, description="Characters in one text; a longer one gets an error of its own."
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="CPU threads for inference, of each worker; 0 shares the cores among the workers.",
    )
    promote_max_accuracy_drop: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The accuracy that a candidate may lack of the champion's, on the same reviews.",
    )
    promote_max_accuracy_loss: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="The accuracy that the served form of a candidate may have lost against the trained one.",
    )
    promote_max_latency_ratio: float = Field(
        default=1.25, gt=0, description="How many times the champion's time a candidate may take for a text."
    )
    promote_max_size_ratio: float = Field(
        default=1.5, gt=0, description="How many times the champion's size the files of a candidate may have."
    )
