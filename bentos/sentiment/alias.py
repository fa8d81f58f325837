"""Who is champion, asked over HTTP: a millisecond, where MLflow's own client takes seconds to import."""

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from bentos.sentiment import store
from bentos.sentiment.registry import MODEL, no_champion, unreachable
from bentos.sentiment.settings import Settings

PATH = "/api/2.0/mlflow/registered-models/alias"


@dataclass(frozen=True, slots=True)
class Candidate:
    """The version under the alias `champion`, and the sha256 that its weights were registered with."""

    version: str
    weights_sha256: str

    @property
    def tag(self) -> str:
        """What it is called in the local store."""
        return store.tag(self.version, self.weights_sha256)


class Alias:
    """The alias `champion` on an MLflow server. Keeps one connection: a new one reads TLS certificates."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        self._http = httpx.Client(
            timeout=settings.registry_timeout_seconds,
            auth=(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None,
            headers={"Authorization": f"Bearer {token}"} if token else None,
        )

    def ask(self) -> Candidate:
        """Raises RegistryError when the server is out of reach, NoChampionError where nobody is champion."""
        body = self.get(PATH, {"name": MODEL, "alias": "champion"})
        if body.get("error_code") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise no_champion(self._settings)
        try:
            version = body["model_version"]
            tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
            return Candidate(str(version["version"]), tags.get("weights_sha256", ""))
        except (TypeError, KeyError, AttributeError) as error:
            raise unreachable(self._settings, error) from error

    def get(self, path: str, words: dict[str, str]) -> dict[str, Any]:
        """What MLflow answers, with an `error_code` where it refuses. Raises RegistryError."""
        try:
            answer = self._http.get(self._settings.tracking_uri.rstrip("/") + path, params=words)
            body: object = answer.json()
            if not isinstance(body, dict):
                raise ValueError("it does not answer as MLflow does")
            if "error_code" not in body:
                answer.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise unreachable(self._settings, error) from error
        return body

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()


def is_server(settings: Settings) -> bool:
    """Whether the registry is an MLflow server, and not a database that only MLflow's client can read."""
    return settings.tracking_uri.startswith(("http://", "https://"))
