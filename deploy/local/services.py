"""What the stack runs: one `Service` per process, in the order in which they need each other."""

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from deploy.local import postgres
from deploy.local.settings import HOST, Settings


@dataclass(frozen=True)
class Service:
    """A process and how to tell that it serves. Times in seconds."""

    name: str
    port: int | None  # None listens on none
    command: tuple[str, ...]
    url: str  # what a person opens
    healthy: Callable[[], bool]
    ready_within: int  # give up waiting for the first healthy answer
    # A process that ends sooner counts as a failed start; on a busy machine it takes seconds to fail.
    # Only a service without a port is waited for as long.
    settles: int = 10
    environment: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None  # in the process itself, before it becomes the command
    # PostgreSQL wants SIGINT for a fast shutdown, the postmaster alone; the others have workers to tell.
    stop_signal: str = "TERM"
    stop_as_group: bool = True

    @property
    def port_variable(self) -> str:
        return f"{self.name.upper()}_PORT"


def services(settings: Settings) -> dict[str, Service]:
    """Every service by name, in starting order; no PostgreSQL when DATABASE_URL names another one."""
    all_of_them = [mlflow(settings), bento(settings), api(settings), worker(settings)]
    if settings.embedded_database:
        all_of_them.insert(0, database(settings))
    return {service.name: service for service in all_of_them}


def database(settings: Settings) -> Service:
    return Service(
        name="postgres",
        port=settings.postgres_port,
        command=postgres.command(settings),
        url=f"postgresql://postgres@{HOST}:{settings.postgres_port}/postgres",
        healthy=lambda: postgres.is_ready(settings),
        ready_within=60,
        prepare=lambda: postgres.prepare(settings),
        stop_signal="INT",
        stop_as_group=False,
    )


def mlflow(settings: Settings) -> Service:
    port, var = settings.mlflow_port, settings.var_dir
    return Service(
        name="mlflow",
        port=port,
        command=python(
            *("mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{var}/mlflow.db"),
            *("--artifacts-destination", f"{var}/mlartifacts", "--serve-artifacts"),
            *("--allowed-hosts", f"{HOST}:{port},localhost:{port}"),  # compared exactly, port included
            *("--cors-allowed-origins", f"http://{HOST}:{port},http://localhost:{port}"),
        ),
        url=settings.mlflow_url,
        healthy=lambda: answers(f"{settings.mlflow_url}/health"),
        ready_within=120,
        # Job execution is for LLM judges; it would start four more processes.
        environment={"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )


def bento(settings: Settings) -> Service:
    return Service(
        name="bento",
        port=settings.bento_port,
        command=python(
            *("bentoml", "serve", "bentos.sentiment.service:Sentiment"),
            *("--host", HOST, "--port", str(settings.bento_port)),
        ),
        url=settings.bento_url,
        healthy=lambda: answers(f"{settings.bento_url}/readyz"),
        ready_within=180,
        environment={
            "BENTOML_DO_NOT_TRACK": "true",  # BentoML reads "1" as no
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
            # More than an answer may take, and less than supervisor waits before it kills.
            *("--timeout-graceful-shutdown", "12"),
        ),
        url=f"{settings.api_url}/docs",
        healthy=lambda: answers(f"{settings.api_url}/readyz"),
        ready_within=60,
        environment={"BENTO_URL": settings.bento_url, "DATABASE_URL": settings.api_database_url},
    )


def worker(settings: Settings) -> Service:
    return Service(
        name="worker",
        port=None,
        command=python("api.worker"),
        url="finds the sentiment of new reviews",
        healthy=lambda: True,  # that it goes on running is all that can be asked of it
        ready_within=60,
        settles=3,
        environment={"BENTO_URL": settings.bento_url, "DATABASE_URL": settings.api_database_url},
    )


def python(*words: str) -> tuple[str, ...]:
    """`python -m ...` of this environment, whatever the PATH says."""
    return (sys.executable, "-m", *words)


def answers(url: str) -> bool:
    """True on 200. Asked ten times a second, so without httpx: its every `get` reads TLS certificates."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", address.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def migrate(settings: Settings) -> subprocess.CompletedProcess[str]:
    """Bring the database's schema to the newest migration; the caller looks at the return code."""
    return with_database(settings, "alembic", "upgrade", "head")


def keep_key(settings: Settings) -> subprocess.CompletedProcess[str]:
    """Have API_KEY taken by the API; again, it changes nothing. The caller looks at the return code."""
    return with_database(
        settings, "api.keys", "create", "local", "--scopes", "write", "--stdin", given=settings.api_key
    )


def with_database(settings: Settings, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python(*words),
        env=os.environ | {"DATABASE_URL": settings.api_database_url},
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
