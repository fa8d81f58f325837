"""The settings of the API and the worker, read once from the environment or `.env`."""

import re
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.dsn import EXAMPLE, to_dsn


class Settings(BaseSettings):
    """Environment variables are the field names in upper case; `.env` may contain other variables."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    # URLs may contain a password, so they are not in repr() and hence not in logs.
    # Those of databases are converted to the DSN that asyncpg and libpq read.
    database_url: str = Field(repr=False)
    bento_url: str = Field(default="http://127.0.0.1:3000", pattern=r"^https?://", repr=False)

    log_format: Literal["text", "json"] = "text"
    # Standard names of OpenTelemetry.
    otel_exporter_otlp_endpoint: str = Field(default="", pattern=r"^(https?://.+)?$")
    otel_traces_sampler_arg: float = Field(default=1.0, ge=0, le=1)

    api_bento_connect_timeout_seconds: float = Field(default=1.0, gt=0)
    api_bento_timeout_seconds: float = Field(default=10.0, gt=0)
    api_bento_max_requests: int = Field(default=4, ge=1)
    # At least one batch.
    api_bento_max_waiting: int = Field(default=1024, ge=64)
    # By default API_BENTO_MAX_REQUESTS: if the Bento hangs, the first timeouts open the circuit.
    api_bento_breaker_failures: int = Field(default=4, ge=1)
    api_bento_breaker_seconds: float = Field(default=5.0, gt=0)

    worker_poll_seconds: float = Field(default=10.0, gt=0)
    worker_lease_seconds: float = Field(default=60.0, gt=0)

    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: int = Field(default=0, ge=0, le=65535)

    metrics_token: str = Field(default="", repr=False)

    api_body_timeout_seconds: float = Field(default=20.0, gt=0)

    api_cors_origins: list[str] = []

    # Without a key: reading reviews and movies, and analysing texts.
    api_public_read: bool = True
    api_limit_read: str = "1200/minute"
    api_limit_analyze: str = "600/minute"
    api_limit_write: str = "600/minute"

    api_database_pool_size: int = Field(default=10, ge=1)
    api_database_pool_timeout_seconds: float = Field(default=5.0, gt=0)
    api_database_connect_timeout_seconds: float = Field(default=5.0, gt=0)
    api_database_statement_timeout_seconds: float = Field(default=5.0, gt=0)
    api_database_lock_timeout_seconds: float = Field(default=3.0, gt=0)

    api_database_pgbouncer: bool = False
    # Declared after API_DATABASE_PGBOUNCER, which its validator reads.
    database_direct_url: str = Field(default="", repr=False, validate_default=True)

    @property
    def session_url(self) -> str:
        """The DSN for code that depends on its session: LISTEN, and the advisory lock of migrations."""
        return self.database_direct_url or self.database_url

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        return to_dsn(value)

    @field_validator("database_direct_url")
    @classmethod
    def _check_direct_url(cls, value: str, info: ValidationInfo) -> str:
        if value:
            return to_dsn(value)
        if info.data.get("api_database_pgbouncer"):
            raise ValueError(
                "is not set, and API_DATABASE_PGBOUNCER is true: the worker and alembic need a connection "
                f"that bypasses pgbouncer, written as {EXAMPLE}"
            )
        return value

    @field_validator("api_limit_read", "api_limit_analyze", "api_limit_write")
    @classmethod
    def _check_limit(cls, value: str) -> str:
        if not re.fullmatch(r"off|[1-9][0-9]{0,8}/(second|minute|hour|day)", value):
            raise ValueError("must be `off` or a number per second, minute, hour or day, such as 600/minute")
        return value


def load() -> Settings:
    """Read the settings. Raises SystemExit with one line per invalid variable."""
    try:
        return Settings()
    except ValidationError as error:
        raise SystemExit("\n".join(_explain(detail) for detail in error.errors())) from None


def _explain(error: ErrorDetails) -> str:
    name = str(error["loc"][0]).upper()
    if error["type"] == "missing":
        return f"{name} is not set: put {name}={EXAMPLE} into the environment or .env"
    reason = error["msg"].removeprefix("Value error, ")
    return f"{name} {reason[:1].lower()}{reason[1:]}"
