"""The MLflow model registry, as serving and promotion see it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from bentoml.exceptions import BentoMLException

from bentos.sentiment import cuda
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "sentiment"


class RegistryError(BentoMLException):
    """The registry is out of reach or a version in it is unusable. Its text is one line, with the way out.

    A BentoMLException, because `bentoml serve` prints those without a stack trace and exits with 1.
    """


class NoChampionError(RegistryError):
    """The registry answers, and no version is to be served."""


def connect(settings: Settings) -> "MlflowClient":
    """A client that gives up within seconds. Raises RegistryError."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(settings.registry_timeout_seconds))
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    _check_uri(settings.tracking_uri)
    # Imported here: it takes seconds and 150 MB, and the process that answers requests never needs it.
    import mlflow

    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_registry_uri(settings.tracking_uri)
    try:
        return mlflow.MlflowClient()
    except Exception as error:
        raise unreachable(settings, error) from error


def champion(settings: Settings) -> "ModelVersion":
    """The version under the alias `champion`. Raises RegistryError, NoChampionError where there is none."""
    client = connect(settings)
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(MODEL, "champion")
    except MlflowException as error:
        if is_absent(error):
            raise no_champion(settings) from error
        raise unreachable(settings, error) from error


def download(version: "ModelVersion", settings: Settings, destination: Path) -> Path:
    """The folder `serving/` of a version, under `destination`; with a GPU also `model/`, inside it.

    Raises RegistryError.
    """
    import mlflow

    served = destination / "serving"
    wanted = {"serving": destination, "model": served} if cuda.is_present() else {"serving": destination}
    try:
        for name, parent in wanted.items():
            uri = f"models:/{MODEL}/{version.version}/{name}"
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(parent))
        return served
    except Exception as error:
        raise RegistryError(
            f"version {version.version} of '{MODEL}' cannot be downloaded ({reason(settings, error)}):"
            " promote another, see `python -m bentos.sentiment.promote -h`"
        ) from error


def is_absent(error: Exception) -> bool:
    """Whether MLflow answered that the model, version or alias is not there; a missing alias is 'invalid'."""
    return getattr(error, "error_code", None) in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def no_champion(settings: Settings) -> NoChampionError:
    return NoChampionError(
        f"no version of '{MODEL}' is champion in {public(settings.tracking_uri)}:"
        " train and promote one with `make repro promote`, or in containers `docker compose run --rm train`"
    )


def unreachable(settings: Settings, error: Exception) -> RegistryError:
    return RegistryError(
        f"cannot use MLflow at {public(settings.tracking_uri)} ({reason(settings, error)}):"
        " start it with `make up`, or set MLFLOW_TRACKING_URI"
    )


def public(uri: str) -> str:
    """The URI without user and password, fit for logs."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def reason(settings: Settings, error: Exception) -> str:
    """An error in one line; requests puts the whole address into it, password included."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    user_and_password = urlsplit(settings.tracking_uri).netloc.rpartition("@")[0]
    return line.rpartition("Caused by ")[2].replace(f"{user_and_password}@", "")


def _check_uri(uri: str) -> None:
    """Refuse what MLflow would create in silence, read as a folder, or try for an hour (a dead database)."""
    scheme, _, rest = uri.partition("://")
    database = Path(rest.removeprefix("/").partition("?")[0])
    if scheme == "sqlite" and not database.is_file():
        raise RegistryError(
            f"there is no MLflow database {database}: make one with `make repro`, or set MLFLOW_TRACKING_URI"
        )
    if scheme not in ("sqlite", "http", "https"):
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is {public(uri)!r}: serving needs http:// or https:// of an MLflow server,"
            " or sqlite:/// of its database"
        )
