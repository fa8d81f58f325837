"""Selection and ranking of the models that may be registered, each by the metrics of its own weights."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.store.entities import PagedList

from pipelines.core.errors import PipelineError
from pipelines.core.mlflow_store import BEHAVIOUR, REFUSED, metrics_of
from pipelines.lineage.kept_files import CHANGED

# Tags that a model needs so that its version can be traced and restored.
LINEAGE = (
    "git_sha",
    "git_dirty",
    "patch_sha256",
    "data_md5",
    "split_sha256",
    "params_sha256",
    "dvc_experiment",
    "weights_sha256",
    "trained_sha256",
)

# Metrics to rank by, in order; -1: higher is better. A model without a tie-breaker loses the tie.
ORDER = {"accuracy": -1, "log_loss": 1, "texts_per_second": -1}

_PAGE = 1000

Found = TypeVar("Found")


@dataclass(frozen=True)
class Candidate:
    """A model that a run exported, with the metrics and tags that were measured on its weights."""

    run: Run
    model: LoggedModel

    @property
    def metrics(self) -> dict[str, float]:
        return metrics_of(self.model)

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.model.tags or {})

    @property
    def name(self) -> str:
        """The run's name with the starts of both ids: names are not unique, and a run may export twice."""
        model_id = self.model.model_id.removeprefix("m-")
        return f"{self.run.info.run_name} ({self.run.info.run_id[:8]}, model {model_id[:8]})"


@dataclass(frozen=True)
class Candidates:
    """The eligible models on one data version and split, best first, and why the others were rejected."""

    models: list[Candidate]
    refused: dict[str, str]
    """Reasons by candidate name."""


def candidates(client: MlflowClient, like: Run, refuse_dirty: bool) -> Candidates:
    """Return the models of finished runs on the data and split of `like`.

    Raises PipelineError if none is eligible.
    """
    eligible, refused = [], {}
    for candidate in on_the_same_reviews(client, like):
        if why := objection(candidate, refuse_dirty):
            refused[candidate.name] = why
        else:
            eligible.append(candidate)
    if not eligible:
        reasons = [f"{name}: {why}" for name, why in refused.items()] or ["none has finished"]
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise PipelineError(
            f"no model on this data and split can be registered: {'; '.join(reasons[:3])}{more}."
            " Train another with `dvc repro` or `dvc exp run`."
        )
    return Candidates(sorted(eligible, key=rank), refused)


def on_the_same_reviews(client: MlflowClient, like: Run) -> Iterator[Candidate]:
    """Yield the models of all finished runs with the same data_md5 and split_sha256 tags as `like`."""
    experiments = [like.info.experiment_id]
    same = " and ".join(f"tags.{tag} = '{like.data.tags[tag]}'" for tag in ("data_md5", "split_sha256"))
    finished = f"{same} and attributes.status = 'FINISHED'"
    runs = {
        run.info.run_id: run
        for run in pages(partial(client.search_runs, experiments, finished, max_results=_PAGE))
    }
    for model in pages(partial(client.search_logged_models, experiments, same, max_results=_PAGE)):
        if model.status == LoggedModelStatus.READY and model.source_run_id in runs:
            yield Candidate(runs[model.source_run_id], model)


def newest(client: MlflowClient, run: Run) -> Candidate | None:
    """Return the model that the run exported last, or None."""
    found = client.search_logged_models(
        [run.info.experiment_id],
        f"source_run_id = '{run.info.run_id}'",
        max_results=1,
        order_by=[{"field_name": "creation_timestamp", "ascending": False}],
    )
    return Candidate(run, found[0]) if found else None


def pages(search: Callable[..., PagedList[Found]]) -> Iterator[Found]:
    """Yield what a search finds, on all its pages."""
    page: str | None = None
    while True:
        found = search(page_token=page)
        yield from found
        page = found.token
        if not page:
            return


def objection(candidate: Candidate, refuse_dirty: bool) -> str:
    """Return why the model cannot be registered, or an empty string."""
    tags = candidate.tags
    if not math.isfinite(candidate.metrics.get("accuracy", math.nan)):
        return "it has no accuracy; `evaluate` has not run on this export"
    if refused := tags.get(REFUSED):
        return refused
    if (behaviour := tags.get(BEHAVIOUR, "never tested")) != "passed":
        return f"behaviour {behaviour}"
    if missing := [tag for tag in LINEAGE if tag not in tags]:
        return f"its lineage is incomplete (no tag {', '.join(missing)})"
    if refuse_dirty and (tags["git_dirty"] != "false" or CHANGED in tags):
        return "code, data or params were not committed, and register.refuse_dirty is true"
    return ""


def rank(candidate: Candidate) -> tuple[float | str, ...]:
    """Return the sort key: lower is better; equal models are ordered by age, so the order is total.

    Models are sorted here because MLflow silently ignores an order_by that it cannot parse.
    """
    metrics = candidate.metrics
    figures = [sign * metrics.get(metric, math.nan) for metric, sign in ORDER.items()]
    known = [math.inf if math.isnan(figure) else figure for figure in figures]
    return (*known, candidate.model.creation_timestamp, candidate.model.model_id)
