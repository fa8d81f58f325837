"""Login and TLS for the MLflow server, from the same variables and file as MLflow's own client."""

import configparser
import os
import ssl
from collections.abc import Generator
from pathlib import Path

import httpx

from bentos.sentiment.registry import RegistryError


def login() -> httpx.Auth | None:
    """Return how requests are authenticated; None leaves it to a user and password in the URL."""
    known = _credentials_file()
    user, password = (
        os.environ.get(f"MLFLOW_TRACKING_{name}") or known.get(f"mlflow_tracking_{name.lower()}")
        for name in ("USERNAME", "PASSWORD")
    )
    if user and password:
        return httpx.BasicAuth(user, password)
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return BearerAuth(token) if token else None


def tls() -> ssl.SSLContext:
    """Return which certificates are trusted and shown. Raises RegistryError if a file cannot be read."""
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    trusted = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    own = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    context = httpx.create_ssl_context(verify=not insecure)
    try:
        if trusted:
            file, folder = (None, trusted) if Path(trusted).is_dir() else (trusted, None)
            context = ssl.create_default_context(cafile=file, capath=folder)
        if own:
            context.load_cert_chain(own)
    except OSError as error:  # an ssl.SSLError is one
        raise RegistryError(
            f"cannot read the certificates that MLFLOW_TRACKING_SERVER_CERT_PATH ({trusted or 'not set'}) and"
            f" MLFLOW_TRACKING_CLIENT_CERT_PATH ({own or 'not set'}) name: {error}"
        ) from error
    return context


class BearerAuth(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _credentials_file() -> dict[str, str]:
    """Return section `mlflow` of ~/.mlflow/credentials."""
    found = configparser.ConfigParser()
    found.read(Path("~/.mlflow/credentials").expanduser())
    return dict(found["mlflow"]) if "mlflow" in found else {}
