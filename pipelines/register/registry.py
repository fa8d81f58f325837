"""The registered model `sentiment`: a version for a run, and the alias `challenger`."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipelines.core.mlflow_store import logged_model
from pipelines.lineage.kept_files import CHANGED
from pipelines.register.candidates import LINEAGE, Candidates, candidates
from pipelines.register.description import description

MODEL = "sentiment"
ALIAS = "challenger"

# How good the served form is, beside the trained one.
FIGURES = ("accuracy", "reference_accuracy", "agreement", "max_probability_difference")

# MLflow tries three times to number a version; with many registers at once that may not do.
_TRIES = 10
# What MLflow says when others are at the same rows; BAD_REQUEST where two would both insert one.
_BUSY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "BAD_REQUEST")

Changed = TypeVar("Changed")


def register(client: MlflowClient, like: Run, refuse_dirty: bool) -> tuple[ModelVersion, Candidates]:
    """The version of the best run, now the challenger, and whom it was chosen from.

    Several may do this at once, on several machines. Whoever sets the alias looks again at the runs
    afterwards; so the last to set it has seen what all others saw, and the best stays.
    """
    while True:
        found = candidates(client, like, refuse_dirty)
        version = version_of(client, found.runs[0])
        challenge(client, version, found)
        again = candidates(client, like, refuse_dirty)
        if again.runs[0].info.run_id == found.runs[0].info.run_id:
            return version, again


def version_of(client: MlflowClient, run: Run) -> ModelVersion:
    """The registered version of the run's model, made if there is none yet.

    MLflow lets one model become two versions. Its database does number them one by one: whoever makes one
    sees every lower number afterwards, and takes its own back when there is a lower of the same model.
    """
    model = logged_model(client, run.info.run_id)
    sources = {model.model_uri, model.artifact_location}
    if known := versions(client, run.info.run_id, sources):
        return known[0]
    made = insist(
        lambda: client.create_model_version(
            MODEL, source=model.model_uri, run_id=run.info.run_id, model_id=model.model_id, tags=tags_of(run)
        )
    )
    lowest = versions(client, run.info.run_id, sources)[0]
    if lowest.version != made.version:
        client.delete_model_version(MODEL, made.version)
    return lowest


def insist(change: Callable[[], Changed]) -> Changed:
    """Make a change of the registry, again while others are in its way. Raises MlflowException."""
    for _ in range(_TRIES - 1):
        try:
            return change()
        except MlflowException as error:
            if error.error_code not in _BUSY:
                raise
    return change()


def versions(client: MlflowClient, run_id: str, sources: set[str]) -> list[ModelVersion]:
    """The versions of this model of the run, the lowest number first."""
    found = client.search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'")
    return sorted((one for one in found if one.source in sources), key=lambda one: int(one.version))


def tags_of(run: Run) -> dict[str, str]:
    """Of a version: where the run comes from and how good it is."""
    tags = {tag: run.data.tags[tag] for tag in (*LINEAGE, CHANGED) if tag in run.data.tags}
    figures = {figure: run.data.metrics[figure] for figure in FIGURES if figure in run.data.metrics}
    return tags | {figure: f"{value:.6f}" for figure, value in figures.items()}


def challenge(client: MlflowClient, version: ModelVersion, found: Candidates) -> None:
    """Make the version the challenger and write down why, unless that is done already.

    The figures of a version change when `evaluate` has run anew.
    """
    before = challenger(client)
    tags = tags_of(found.runs[0])
    stale = {tag: value for tag, value in tags.items() if version.tags.get(tag) != value}
    for tag, value in stale.items():
        insist(partial(client.set_model_version_tag, MODEL, version.version, tag, value))
    is_new = before is None or before.version != version.version
    if is_new or stale or not version.description:
        client.update_model_version(MODEL, version.version, description(client, found, before))
    if is_new:
        insist(lambda: client.set_registered_model_alias(MODEL, ALIAS, version.version))


def challenger(client: MlflowClient) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(MODEL, ALIAS)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    return None


def ensure_model(client: MlflowClient) -> None:
    try:
        client.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
