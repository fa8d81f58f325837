"""Versions of the registered model `sentiment` and the alias `challenger`."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipelines.lineage.kept_files import CHANGED
from pipelines.register.candidates import LINEAGE, Candidate, Candidates, candidates
from pipelines.register.description import description
from pipelines.register.evidence import TAGS, evidence

MODEL = "sentiment"
ALIAS = "challenger"
MODEL_ID = "model_id"
"""The version's tag that names its logged model."""

# Metrics that are copied to the version's tags.
FIGURES = ("accuracy", "test_accuracy", "reference_accuracy", "agreement", "max_probability_difference")

# MLflow makes three attempts to number a version, which is too few for many concurrent registrations.
_TRIES = 10
# MLflow's error codes for concurrent changes; BAD_REQUEST is a duplicate insert.
_BUSY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "BAD_REQUEST")

Changed = TypeVar("Changed")


def register(client: MlflowClient, like: Run, refuse_dirty: bool) -> tuple[ModelVersion, Candidates]:
    """Make the best model's version the challenger; return the version and the candidates.

    Safe to run concurrently on several machines: after setting the alias, each process selects again until
    the best model is unchanged. The last process to set the alias has seen all models, so the best one stays.
    """
    while True:
        found = candidates(client, like, refuse_dirty)
        version = version_of(client, found.models[0])
        challenge(client, version, found)
        again = candidates(client, like, refuse_dirty)
        if again.models[0].model.model_id == found.models[0].model.model_id:
            return version, again


def version_of(client: MlflowClient, candidate: Candidate) -> ModelVersion:
    """Return the registered version of the model, creating it if missing.

    MLflow allows two versions of one model, but numbers versions serially. Each process therefore sees all
    lower numbers after creating its version, and deletes its own if a lower one of the same model exists.
    """
    model, run = candidate.model, candidate.run
    sources = {model.model_uri, model.artifact_location}
    if known := versions(client, run.info.run_id, sources):
        return with_evidence(client, known[0], model)
    tags = tags_of(candidate) | evidence(model)
    made = insist(
        lambda: client.create_model_version(
            MODEL, source=model.model_uri, run_id=run.info.run_id, model_id=model.model_id, tags=tags
        )
    )
    lowest = versions(client, run.info.run_id, sources)[0]
    if lowest.version != made.version:
        client.delete_model_version(MODEL, made.version)
    return lowest


def with_evidence(client: MlflowClient, version: ModelVersion, model: LoggedModel) -> ModelVersion:
    """Add the evidence to a version that was registered before there was any; never replace it."""
    if any(tag in version.tags for tag in TAGS):
        return version
    for tag, value in evidence(model).items():
        insist(partial(client.set_model_version_tag, MODEL, version.version, tag, value))
    return client.get_model_version(MODEL, version.version)


def insist(change: Callable[[], Changed]) -> Changed:
    """Change the registry, retrying on conflicts with concurrent changes. Raises MlflowException."""
    for _ in range(_TRIES - 1):
        try:
            return change()
        except MlflowException as error:
            if error.error_code not in _BUSY:
                raise
    return change()


def versions(client: MlflowClient, run_id: str, sources: set[str]) -> list[ModelVersion]:
    """Return the versions of the run with these sources, in ascending order."""
    found = client.search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'")
    return sorted((one for one in found if one.source in sources), key=lambda one: int(one.version))


def tags_of(candidate: Candidate) -> dict[str, str]:
    """Return the tags of the model's version: its lineage and metrics."""
    tags = {tag: candidate.tags[tag] for tag in (*LINEAGE, CHANGED) if tag in candidate.tags}
    metrics = candidate.metrics
    figures = {figure: metrics[figure] for figure in FIGURES if figure in metrics}
    # MLflow 3.17 does not store the id with a version.
    return (
        {MODEL_ID: candidate.model.model_id}
        | tags
        | {figure: f"{value:.6f}" for figure, value in figures.items()}
    )


def challenge(client: MlflowClient, version: ModelVersion, found: Candidates) -> None:
    """Make the version the challenger, and update its description and its tags if necessary.

    A version's metrics change when `evaluate` runs again.
    """
    before = challenger(client)
    tags = tags_of(found.models[0])
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
