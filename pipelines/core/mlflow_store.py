"""The MLflow store: the connection, the project's experiment, and runs logged there earlier."""

import os
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from filelock import FileLock
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException, RestException

from pipelines.core.errors import PipelineError

EXPERIMENT = "sentiment"

BEHAVIOUR, REFUSED, CHAMPION_VERSION = VERDICTS = ("behaviour", "refused", "champion_version")
"""Tags in which `evaluate` judges a model: its behavioural tests, why it must not be registered (or ""), and
the champion with which it was compared."""


def connect() -> mlflow.MlflowClient:
    """Connect to MLFLOW_TRACKING_URI and select the project's experiment, creating it if necessary.

    The default is an SQLite file in var/, with the artifacts beside it. Its path is absolute, because
    `dvc exp run --queue` runs stages in a temporary workspace; there DVC_ROOT names the project's folder.
    Raises PipelineError if MLflow does not answer.
    """
    var = Path(os.environ.get("DVC_ROOT", ".")).resolve() / "var"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(var / "mlflow.db")
    local = uri.startswith("sqlite:")
    if local:
        var.mkdir(parents=True, exist_ok=True)
    _keep_from_proxies(uri)
    mlflow.set_tracking_uri(uri)
    try:
        # MLflow creates the tables of a new SQLite file, which fails if two processes do so at once.
        with FileLock(var / "mlflow.lock") if local else nullcontext():
            client = mlflow.MlflowClient()
            make_experiment(client, (var / "mlartifacts").as_uri() if local else None)
        mlflow.set_experiment(EXPERIMENT)
    except RestException:
        raise
    except MlflowException as error:
        first = str(error).splitlines()[0]
        raise PipelineError(f"MLflow at {uri} does not answer: {first} Set MLFLOW_TRACKING_URI.") from None
    return client


def sqlite_url(path: Path) -> str:
    """Return SQLAlchemy's URL, in which a percent sign or a question mark in the path must be quoted."""
    return f"sqlite:///{path}".replace("%", "%25").replace("?", "%3F")


def _keep_from_proxies(uri: str) -> None:
    """Exclude MLflow on loopback from any proxy, which would look for it on its own machine."""
    if (host := urlsplit(uri).hostname) in ("127.0.0.1", "localhost", "::1"):
        for name in ("NO_PROXY", "no_proxy"):
            if (given := os.environ.get(name)) != "*":
                os.environ[name] = ",".join(filter(None, (given, host)))


def make_experiment(client: mlflow.MlflowClient, artifacts: str | None) -> None:
    """Create the project's experiment if missing; creating without a prior lookup avoids a race."""
    try:
        client.create_experiment(EXPERIMENT, artifacts)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def resume(run_id: str) -> mlflow.ActiveRun:
    """Reopen the run that `train` started. Raises PipelineError if MLflow does not have it."""
    try:
        return mlflow.start_run(run_id=run_id)
    except MlflowException:
        raise PipelineError(
            f"run {run_id} is not in MLflow at {mlflow.get_tracking_uri()}: results/ comes from another "
            "store. Run `dvc repro --force` to train again, or set MLFLOW_TRACKING_URI to that store."
        ) from None


def logged_model(client: mlflow.MlflowClient, model_id: str) -> LoggedModel:
    """Return the model that `export` logged. Raises PipelineError if MLflow does not have it."""
    try:
        return client.get_logged_model(model_id)
    except MlflowException:
        raise PipelineError(
            f"model {model_id} is not in MLflow at {mlflow.get_tracking_uri()}: results/ comes from another"
            " store. Run `dvc repro --force export`, or set MLFLOW_TRACKING_URI to that store."
        ) from None


def metrics_of(model: LoggedModel) -> dict[str, float]:
    """Return the metrics that were measured on the model, each with its newest value."""
    logged = sorted(model.metrics or [], key=lambda metric: (metric.timestamp, metric.step))
    return {metric.key: metric.value for metric in logged}
