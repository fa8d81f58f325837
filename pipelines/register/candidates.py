"""Selection and ranking of the runs that may be registered."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run

from pipelines.core.errors import PipelineError
from pipelines.lineage.kept_files import CHANGED

# Tags that a run needs so that its version can be traced and restored.
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

# Metrics to rank by, in order; -1: higher is better. A run without a tie-breaker loses the tie.
ORDER = {"accuracy": -1, "log_loss": 1, "texts_per_second": -1}

_PAGE = 1000


@dataclass(frozen=True)
class Candidates:
    """The eligible runs on one data version and split, best first, and why the others were rejected."""

    runs: list[Run]
    refused: dict[str, str]
    """Reasons by run name."""


def candidates(client: MlflowClient, like: Run, refuse_dirty: bool) -> Candidates:
    """Return the finished runs on the data and split of `like`. Raises PipelineError if none is eligible."""
    runs, refused = [], {}
    for run in on_the_same_reviews(client, like):
        if why := objection(run, refuse_dirty):
            refused[name(run)] = why
        else:
            runs.append(run)
    if not runs:
        reasons = [f"{run}: {why}" for run, why in refused.items()] or ["none has finished"]
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise PipelineError(
            f"no run on this data and split can be registered: {'; '.join(reasons[:3])}{more}."
            " Train another with `dvc repro` or `dvc exp run`."
        )
    return Candidates(sorted(runs, key=rank), refused)


def on_the_same_reviews(client: MlflowClient, like: Run) -> Iterator[Run]:
    """Yield all finished runs with the same data_md5 and split_sha256 tags as `like`."""
    same = [f"tags.{tag} = '{like.data.tags[tag]}'" for tag in ("data_md5", "split_sha256")]
    page: str | None = ""
    while page is not None:
        found = client.search_runs(
            [like.info.experiment_id],
            " and ".join([*same, "attributes.status = 'FINISHED'"]),
            max_results=_PAGE,
            page_token=page or None,
        )
        yield from found
        page = found.token or None


def objection(run: Run, refuse_dirty: bool) -> str:
    """Return why the run cannot be registered, or an empty string."""
    tags = run.data.tags
    if not math.isfinite(run.data.metrics.get("accuracy", math.nan)):
        return "it has no accuracy; `evaluate` has not run"
    if (behaviour := tags.get("behaviour", "never tested")) != "passed":
        return f"behaviour {behaviour}"
    if missing := [tag for tag in LINEAGE if tag not in tags]:
        return f"its lineage is incomplete (no tag {', '.join(missing)})"
    if refuse_dirty and (tags["git_dirty"] != "false" or CHANGED in tags):
        return "code, data or params were not committed, and register.refuse_dirty is true"
    return ""


def rank(run: Run) -> tuple[float | str, ...]:
    """Return the sort key: lower is better; equal runs are ordered by age, so the order is total.

    Runs are sorted here because MLflow silently ignores an order_by that it cannot parse.
    """
    figures = [sign * run.data.metrics.get(metric, math.nan) for metric, sign in ORDER.items()]
    known = [math.inf if math.isnan(figure) else figure for figure in figures]
    return (*known, run.info.start_time, run.info.run_id)


def name(run: Run) -> str:
    """Return the run's name with the start of its id, since names are not unique."""
    return f"{run.info.run_name} ({run.info.run_id[:8]})"
