"""The MLflow registry over its REST API: a request takes a millisecond, importing MLflow's client seconds."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from bentos.sentiment.champion import registered, store
from bentos.sentiment.registry import MODEL, no_champion, unreachable
from bentos.sentiment.registry_access import login, tls
from bentos.sentiment.settings import Settings

PATH = "/api/2.0/mlflow/registered-models/alias"


@dataclass(frozen=True, slots=True)
class ChampionVersion:
    """The version with the alias `champion`, and the registered sha256 of its files."""

    version: str
    sha256: str

    @property
    def tag(self) -> str:
        """The version's tag in the local store."""
        return store.tag(self.version, self.sha256)


class RestClient:
    """A client of an MLflow server. Reuses one connection, as opening one reads the TLS certificates."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = httpx.Client(timeout=settings.registry_timeout_seconds, auth=login(), verify=tls())

    def champion(self) -> ChampionVersion:
        """Raises RegistryError if the server is unreachable, NoChampionError if no version is champion."""
        body = self.get(PATH, {"name": MODEL, "alias": "champion"})
        if body.get("error_code") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise no_champion(self._settings)
        try:
            version = body["model_version"]
            tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
            return ChampionVersion(str(version["version"]), registered.identity(tags))
        except (TypeError, KeyError, AttributeError) as error:
            raise unreachable(self._settings, error) from error

    def get(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        """Return MLflow's JSON response, which has an `error_code` on failure. Raises RegistryError."""
        try:
            response = self._http.get(self._settings.tracking_uri.rstrip("/") + path, params=params)
            body: object = response.json()
            if not isinstance(body, dict):
                raise ValueError("the response is not MLflow's")
            if "error_code" not in body:
                response.raise_for_status()
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
    """Return whether the registry is an MLflow server, rather than a database without a REST API."""
    return settings.tracking_uri.startswith(("http://", "https://"))
