"""The MLflow model registry: connecting, downloading and its errors."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from bentoml.exceptions import BentoMLException

from bentos.sentiment import cuda
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "sentiment"


class RegistryError(BentoMLException):
    """The registry is unreachable, or a version in it is unusable. The message is one line with a remedy.

    A BentoMLException, because `bentoml serve` prints those without a traceback and exits with 1.
    """


class NoChampionError(RegistryError):
    """The registry is reachable, but no version has the alias `champion`."""


def connect(settings: Settings) -> "MlflowClient":
    """Return a client with short timeouts. Raises RegistryError."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(settings.registry_timeout_seconds))
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    _check_uri(settings.tracking_uri)
    # Imported here because it takes seconds and 150 MB, and the serving process never needs it.
    import mlflow

    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_registry_uri(settings.tracking_uri)
    try:
        return mlflow.MlflowClient()
    except Exception as error:
        raise unreachable(settings, error) from error


def champion(settings: Settings) -> "ModelVersion":
    """Return the version with the alias `champion`. Raises RegistryError, NoChampionError if none has it."""
    client = connect(settings)
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(MODEL, "champion")
    except MlflowException as error:
        if is_absent(error):
            raise no_champion(settings) from error
        raise unreachable(settings, error) from error


def download(version: "ModelVersion", settings: Settings, destination: Path) -> Path:
    """Download `serving/` of a version into `destination`, and with a GPU also `model/` into `serving/`.

    Returns the path of `serving/`. Raises RegistryError.
    """
    import mlflow

    serving = destination / "serving"
    folders = {"serving": destination, "model": serving} if cuda.is_present() else {"serving": destination}
    try:
        for name, parent in folders.items():
            uri = f"models:/{MODEL}/{version.version}/{name}"
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(parent))
        return serving
    except Exception as error:
        raise RegistryError(
            f"version {version.version} of '{MODEL}' cannot be downloaded ({reason(settings, error)}):"
            " promote another version, see `python -m bentos.sentiment.promote -h`"
        ) from error


def is_absent(error: Exception) -> bool:
    """Return whether a model, version or alias does not exist; MLflow calls a missing alias invalid."""
    return getattr(error, "error_code", None) in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def no_champion(settings: Settings) -> NoChampionError:
    return NoChampionError(
        f"no version of '{MODEL}' is champion in {without_credentials(settings.tracking_uri)}:"
        " train and promote one with `make repro promote`, or in containers `docker compose run --rm train`"
    )


def unreachable(settings: Settings, error: Exception) -> RegistryError:
    return RegistryError(
        f"cannot use MLflow at {without_credentials(settings.tracking_uri)} ({reason(settings, error)}):"
        " start it with `make up`, or set MLFLOW_TRACKING_URI"
    )


def too_slow(settings: Settings) -> RegistryError:
    return RegistryError(
        f"MLflow at {without_credentials(settings.tracking_uri)} has not delivered the champion within"
        f" {settings.fetch_seconds:g} seconds: see its log, or set SENTIMENT_FETCH_SECONDS"
    )


def without_credentials(uri: str) -> str:
    """Return the URI without credentials, safe to log."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def reason(settings: Settings, error: Exception) -> str:
    """Return an error message in one line and without credentials, which requests includes in the URL."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    user_and_password = urlsplit(settings.tracking_uri).netloc.rpartition("@")[0]
    return line.rpartition("Caused by ")[2].replace(f"{user_and_password}@", "")


def _check_uri(uri: str) -> None:
    """Reject URIs that MLflow would silently create, take for a folder, or retry for an hour (a database)."""
    scheme, _, rest = uri.partition("://")
    database = Path(unquote(rest.removeprefix("/").partition("?")[0]))
    if scheme == "sqlite" and not database.is_file():
        raise RegistryError(
            f"the MLflow database {database} does not exist: create it with `make repro`, or set"
            " MLFLOW_TRACKING_URI"
        )
    if scheme not in ("sqlite", "http", "https"):
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is {without_credentials(uri)!r}: it must be the http:// or https:// URL of"
            " an MLflow server, or the sqlite:/// URL of its database"
        )
