"""The services of the stack, in the order of their dependencies."""

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import postgres
from deploy.local.settings import HOST, Settings


@dataclass(frozen=True)
class Service:
    """A supervised process and its health check. Durations are in seconds."""

    name: str
    port: int | None  # None: it does not listen
    command: tuple[str, ...]
    url: str  # shown to the user
    healthy: Callable[[], bool]
    ready_timeout: int  # until the first successful health check
    # supervisor's startsecs: an earlier exit counts as a failed start, and failing can take seconds on a
    # busy machine. Only a service without a port delays `up` by this time.
    start_seconds: int = 10
    environment: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None  # runs in the process before it executes `command`
    # SIGINT to the postmaster alone is PostgreSQL's fast shutdown; other services have workers to signal.
    stop_signal: str = "TERM"
    stop_as_group: bool = True

    @property
    def port_variable(self) -> str:
        return f"{self.name.upper()}_PORT"


def services(settings: Settings) -> dict[str, Service]:
    """Return every service by name, in start order. PostgreSQL is left out if DATABASE_URL is set."""
    ordered = [mlflow(settings), bento(settings), api(settings), worker(settings)]
    if settings.embedded_database:
        ordered.insert(0, database(settings))
    return {service.name: service for service in ordered}


def database(settings: Settings) -> Service:
    return Service(
        name="postgres",
        port=settings.postgres_port,
        command=postgres.command(settings),
        url=f"postgresql://postgres@{HOST}:{settings.postgres_port}/postgres",
        healthy=lambda: postgres.is_ready(settings),
        ready_timeout=60,
        prepare=lambda: postgres.prepare(settings),
        stop_signal="INT",
        stop_as_group=False,
    )


def mlflow(settings: Settings) -> Service:
    port, var = settings.mlflow_port, settings.var_dir
    own = [f"{HOST}:{port}", f"localhost:{port}"]
    origins = [f"http://{host}" for host in own]
    return Service(
        name="mlflow",
        port=port,
        command=python(
            *("mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", sqlite_url(var / "mlflow.db")),
            *("--artifacts-destination", (var / "mlartifacts").as_uri(), "--serve-artifacts"),
            # Compared exactly, including the port.
            *("--allowed-hosts", listed(own, settings.mlflow_server_allowed_hosts)),
            *("--cors-allowed-origins", listed(origins, settings.mlflow_server_cors_allowed_origins)),
        ),
        url=settings.mlflow_url,
        healthy=lambda: responds(f"{settings.mlflow_url}/health"),
        ready_timeout=120,
        # Job execution serves LLM judges and would start four more processes.
        environment={"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )


def listed(own: list[str], added: str) -> str:
    return ",".join([*own, *filter(None, map(str.strip, added.split(",")))])


def sqlite_url(path: Path) -> str:
    """Return SQLAlchemy's URL of a file.

    Only what SQLAlchemy interprets is quoted, because MLflow also creates the folder of the URL as written.
    """
    return f"sqlite:///{path}".replace("%", "%25").replace("?", "%3F")


def bento(settings: Settings) -> Service:
    return Service(
        name="bento",
        port=settings.bento_port,
        command=python(
            *("bentoml", "serve", "bentos.sentiment.service:Sentiment"),
            *("--host", HOST, "--port", str(settings.bento_port)),
        ),
        url=settings.bento_url,
        healthy=lambda: responds(f"{settings.bento_url}/readyz"),
        ready_timeout=180,
        environment={
            "BENTOML_DO_NOT_TRACK": "true",  # BentoML does not accept "1"
            "BENTOML_HOME": f"{settings.var_dir}/bentoml",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_TRACKING_URI": settings.mlflow_url,
        },
    )


def api(settings: Settings) -> Service:
    return Service(
        name="api",
        port=settings.api_port,
        command=python(
            *("uvicorn", "--factory", "api.main:create_app"),
            *("--host", HOST, "--port", str(settings.api_port)),
            # Each connection may buffer 64 KiB. More connections are answered 503.
            *("--limit-concurrency", "512"),
            # Longer than the slowest request, and shorter than supervisor's stopwaitsecs.
            *("--timeout-graceful-shutdown", "12"),
        ),
        url=f"{settings.api_url}/docs",
        healthy=lambda: responds(f"{settings.api_url}/readyz"),
        ready_timeout=60,
        environment={"BENTO_URL": settings.bento_url, "DATABASE_URL": settings.api_database_url},
    )


def worker(settings: Settings) -> Service:
    return Service(
        name="worker",
        port=None,
        command=python("api.worker"),
        url="fills the sentiment of new reviews",
        healthy=lambda: True,  # it has no port to probe; supervisor checks that it keeps running
        ready_timeout=60,
        start_seconds=3,
        environment={"BENTO_URL": settings.bento_url, "DATABASE_URL": settings.api_database_url},
    )


def python(*words: str) -> tuple[str, ...]:
    """Return a `python -m ...` command of this environment, regardless of the PATH."""
    return (sys.executable, "-m", *words)


def responds(url: str) -> bool:
    """Whether a URL returns 200. Avoids httpx, which loads TLS certificates on each of ten calls a second."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", address.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def migrate(settings: Settings) -> subprocess.CompletedProcess[str]:
    """Upgrade the database schema to the newest migration; the caller checks the return code."""
    return run_with_database(settings, "alembic", "upgrade", "head")


def register_key(settings: Settings) -> subprocess.CompletedProcess[str]:
    """Register API_KEY with the API, idempotently; the caller checks the return code."""
    return run_with_database(
        settings, "api.keys", "create", "local", "--scopes", "write", "--stdin", stdin=settings.api_key
    )


def run_with_database(settings: Settings, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python(*words),
        env=os.environ | {"DATABASE_URL": settings.api_database_url},
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
