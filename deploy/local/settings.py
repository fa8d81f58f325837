"""Ports, secrets and folders of the local stack, read from the environment and `.env`.

Paths are relative to the working directory, which is the project folder.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.env import ENV_FILE, ensure_env_file, fill_secrets

HOST = "127.0.0.1"
Port = Annotated[int, Field(ge=1, le=65535)]


class StackError(Exception):
    """An error with its remedy, in one line for the terminal."""


class Settings(BaseSettings):
    """Settings of the local stack. The environment overrides `.env`; other programs read the unknown keys."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True)

    api_port: Port = 8000
    bento_port: Port = 3000
    mlflow_port: Port = 5000
    postgres_port: Port = 5433
    prometheus_port: Port = 9090
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    postgres_password: str = ""
    api_key: str = ""
    metrics_token: str = ""
    database_url: str = ""
    mlflow_server_allowed_hosts: str = ""
    mlflow_server_cors_allowed_origins: str = ""
    var_dir: Path = Path("var")

    @field_validator("var_dir")
    @classmethod
    def absolute(cls, value: Path) -> Path:
        """Resolve the folder: its path identifies the processes of the stack."""
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
        """Whether the stack runs its own PostgreSQL, because DATABASE_URL is empty."""
        return not self.database_url

    @property
    def api_database_url(self) -> str:
        """SQLAlchemy URL for the API and the migrations."""
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
        """Hash all settings and the whole `.env`, which the services read themselves."""
        content = self.model_dump_json().encode() + (ENV_FILE.read_bytes() if ENV_FILE.exists() else b"")
        return hashlib.sha256(content).hexdigest()


def read_settings() -> Settings:
    """Read the settings. Raises StackError that names every invalid value."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            ": ".join(filter(None, ("_".join(map(str, e["loc"])).upper(), e["msg"]))) for e in error.errors()
        ]
        raise StackError(f"{'; '.join(lines)} (set it in .env)") from None


def prepare_settings() -> Settings:
    """Create `.env` from its example if needed, generate missing secrets, and return the settings.

    Raises StackError.
    """
    if not ensure_env_file():
        raise StackError(f"no .env and no .env.example in {Path.cwd()}: run this in the project folder")
    settings = read_settings()
    if settings.embedded_database and not settings.postgres_password:
        fill_secrets(["POSTGRES_PASSWORD"])
    if not settings.api_key:
        fill_secrets(["API_KEY"])
    return read_settings()
