"""The version's description on its MLflow page: why its run was chosen, in Markdown."""

from collections.abc import Iterator
from pathlib import PurePath

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from pipelines.register.candidates import ORDER, Candidates, name

REPORT = "report/report.html"
# MLflow's database limits descriptions to 5,000 characters.
_LONGEST = 5000
_SHOWN = 5


def reason(found: Candidates) -> str:
    """Return the decision as one line."""
    best, *others = found.runs
    count = f"the best of {len(found.runs)} runs" if others else "the only run"
    line = f"accuracy {accuracy(best)}, {count} on this data and split"
    return f"{line}; {against(best, others[0])}" if others else line


def against(best: Run, next_best: Run) -> str:
    """Describe what ranked `best` first: the accuracy, or the first tie-breaker that differs."""
    mine, other = best.data.metrics, next_best.data.metrics
    if (ahead := mine["accuracy"] - other["accuracy"]) > 0:
        return f"next is {name(next_best)} with {accuracy(next_best)}, {ahead:.4f} less"
    tie = f"a tie with {name(next_best)}"
    for metric in list(ORDER)[1:]:
        if mine.get(metric) != other.get(metric):
            return f"{tie}, broken by {metric}: {figure(best, metric)} against {figure(next_best, metric)}"
    return f"{tie}, broken by age: this one is the older"


def accuracy(run: Run) -> str:
    """Return the accuracy, with its interval if `evaluate` logged one."""
    low, high = (run.data.metrics.get(f"accuracy_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" (95 %: {low:.4f} to {high:.4f})"
    return f"{run.data.metrics['accuracy']:.4f}{interval}"


def figure(run: Run, metric: str) -> str:
    return f"{run.data.metrics[metric]:.4g}" if metric in run.data.metrics else "unknown"


def description(client: MlflowClient, found: Candidates, before: ModelVersion | None) -> str:
    """Describe the decision, the previous challenger, rejected runs, and links to the run and report."""
    lines = "\n".join(f"- {line}" for line in _lines(client, found, before))
    return f"Chosen: {reason(found)}.\n\n{lines}"[:_LONGEST]


def _lines(client: MlflowClient, found: Candidates, before: ModelVersion | None) -> Iterator[str]:
    best = found.runs[0]
    tags = best.data.tags
    if before is not None and before.run_id != best.info.run_id:
        yield (
            f"Replaces version {before.version}, accuracy {before.tags.get('accuracy', 'unknown')}"
            + ("" if same_reviews(before, best) else ", on other data or another split: not comparable")
        )
    for metric, value in sorted(best.data.metrics.items()):
        if metric.startswith("champion_difference"):
            yield f"Against the champion, {metric.replace('_', ' ')}: {value:+.4f}"
    for run, why in list(found.refused.items())[:_SHOWN]:
        yield f"Not considered: {run}: {why}"
    if (more := len(found.refused) - _SHOWN) > 0:
        yield f"Not considered: {more} more"
    committed = "with uncommitted changes" if tags["git_dirty"] != "false" else "all committed"
    yield f"Code {tags['git_sha'][:12]}, {committed}; DVC experiment: {tags['dvc_experiment']}"
    page = f"#/experiments/{best.info.experiment_id}/runs/{best.info.run_id}"
    yield f"[Run {best.info.run_name}]({page})"
    folder = str(PurePath(REPORT).parent)
    if any(file.path == REPORT for file in client.list_artifacts(best.info.run_id, folder)):
        yield f"[Report]({page}/artifacts/{REPORT})"


def same_reviews(version: ModelVersion, run: Run) -> bool:
    return all(version.tags.get(tag) == run.data.tags[tag] for tag in ("data_md5", "split_sha256"))
