"""Where the local stack keeps its data and listens, read from the environment and `.env`.

Every path is relative to the current folder, which is the project's: the Makefile runs us from there.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.env import ENV_FILE, ensure, fill

HOST = "127.0.0.1"
Port = Annotated[int, Field(ge=1, le=65535)]


class StackError(Exception):
    """What went wrong and the way out, as one line for the terminal."""


class Settings(BaseSettings):
    """The local stack's settings; the environment wins over `.env`, unknown keys belong to others."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True)

    api_port: Port = 8000
    bento_port: Port = 3000
    mlflow_port: Port = 5000
    postgres_port: Port = 5433
    prometheus_port: Port = 9090
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    postgres_password: str = ""
    api_key: str = ""
    database_url: str = ""
    var_dir: Path = Path("var")

    @field_validator("var_dir")
    @classmethod
    def absolute(cls, value: Path) -> Path:
        """One spelling per folder: it marks our processes."""
        return value.expanduser().resolve()

    @model_validator(mode="after")
    def distinct_ports(self) -> Self:
        seen: dict[int, str] = {}
        for name in ("api_port", "bento_port", "mlflow_port", "postgres_port"):
            other = seen.setdefault(getattr(self, name), name)
            if other != name:
                raise ValueError(f"{other.upper()} and {name.upper()} are both {getattr(self, name)}")
        return self

    @property
    def embedded_database(self) -> bool:
        """True when the stack runs its own PostgreSQL: no DATABASE_URL names another."""
        return not self.database_url

    @property
    def api_database_url(self) -> str:
        """SQLAlchemy URL that the API and the migrations use."""
        if self.database_url:
            return self.database_url
        password = quote(self.postgres_password, safe="")
        return f"postgresql+asyncpg://postgres:{password}@{HOST}:{self.postgres_port}/postgres"

    @property
    def mlflow_url(self) -> str:
        return f"http://{HOST}:{self.mlflow_port}"

    @property
    def bento_url(self) -> str:
        return f"http://{HOST}:{self.bento_port}"

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.api_port}"

    def digest(self) -> str:
        """Changes when any setting does, those of the services included (they read `.env` themselves)."""
        words = self.model_dump_json().encode() + (ENV_FILE.read_bytes() if ENV_FILE.exists() else b"")
        return hashlib.sha256(words).hexdigest()


def read_settings() -> Settings:
    """The settings; raises StackError with a line per bad value."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            ": ".join(filter(None, ("_".join(map(str, e["loc"])).upper(), e["msg"]))) for e in error.errors()
        ]
        raise StackError(f"{'; '.join(lines)} (set it in .env)") from None


def prepare_settings() -> Settings:
    """The settings, after creating `.env` from its example, and what in it is secret and missing."""
    if not ensure():
        raise StackError(f"no .env and no .env.example in {Path.cwd()}: run this in the project's folder")
    settings = read_settings()
    if settings.embedded_database and not settings.postgres_password:
        fill(["POSTGRES_PASSWORD"])
    if not settings.api_key:
        fill(["API_KEY"])
    return read_settings()
