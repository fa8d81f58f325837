"""The version's description on its MLflow page: why its run was chosen, in Markdown."""

from collections.abc import Iterator
from pathlib import PurePath

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipelines.register.candidates import ORDER, Candidate, Candidates

REPORT = "report/report.html"
# MLflow's database limits descriptions to 5,000 characters.
_LONGEST = 5000
_SHOWN = 5


def reason(found: Candidates) -> str:
    """Return the decision as one line."""
    best, *others = found.models
    count = f"the best of {len(found.models)} models" if others else "the only model"
    line = f"accuracy {accuracy(best)}, {count} on this data and split"
    return f"{line}; {against(best, others[0])}" if others else line


def against(best: Candidate, next_best: Candidate) -> str:
    """Describe what ranked `best` first: the accuracy, or the first tie-breaker that differs."""
    mine, other = best.metrics, next_best.metrics
    if (ahead := mine["accuracy"] - other["accuracy"]) > 0:
        return f"next is {next_best.name} with {accuracy(next_best)}, {ahead:.4f} less"
    tie = f"a tie with {next_best.name}"
    for metric in list(ORDER)[1:]:
        if mine.get(metric) != other.get(metric):
            return f"{tie}, broken by {metric}: {figure(best, metric)} against {figure(next_best, metric)}"
    return f"{tie}, broken by age: this one is the older"


def accuracy(candidate: Candidate) -> str:
    """Return the accuracy, with its interval if `evaluate` logged one."""
    metrics = candidate.metrics
    low, high = (metrics.get(f"accuracy_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" (95 %: {low:.4f} to {high:.4f})"
    return f"{metrics['accuracy']:.4f}{interval}"


def figure(candidate: Candidate, metric: str) -> str:
    return f"{candidate.metrics[metric]:.4g}" if metric in candidate.metrics else "unknown"


def description(client: MlflowClient, found: Candidates, before: ModelVersion | None) -> str:
    """Describe the decision, the previous challenger, rejected runs, and links to the run and report."""
    lines = "\n".join(f"- {line}" for line in _lines(client, found, before))
    return f"Chosen: {reason(found)}.\n\n{lines}"[:_LONGEST]


def _lines(client: MlflowClient, found: Candidates, before: ModelVersion | None) -> Iterator[str]:
    best, run = found.models[0], found.models[0].run
    tags = best.tags
    if "test_accuracy" in best.metrics:
        yield f"On the test reviews, which choose nothing: accuracy {best.metrics['test_accuracy']:.4f}"
    if before is not None and before.tags.get("model_id") != best.model.model_id:
        yield (
            f"Replaces version {before.version}, accuracy {before.tags.get('accuracy', 'unknown')}"
            + ("" if same_reviews(before, best) else ", on other data or another split: not comparable")
        )
    for metric, value in sorted(best.metrics.items()):
        if metric.startswith("champion_difference"):
            yield f"Against the champion, {metric.replace('_', ' ')}: {value:+.4f}"
    for name, why in list(found.refused.items())[:_SHOWN]:
        yield f"Not considered: {name}: {why}"
    if (more := len(found.refused) - _SHOWN) > 0:
        yield f"Not considered: {more} more"
    committed = "with uncommitted changes" if tags["git_dirty"] != "false" else "all committed"
    yield f"Code {tags['git_sha'][:12]}, {committed}; DVC experiment: {tags['dvc_experiment']}"
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    yield f"[Run {run.info.run_name}]({page})"
    folder = str(PurePath(REPORT).parent)
    if any(file.path == REPORT for file in client.list_artifacts(run.info.run_id, folder)):
        yield f"[Report]({page}/artifacts/{REPORT})"


def same_reviews(version: ModelVersion, candidate: Candidate) -> bool:
    return all(version.tags.get(tag) == candidate.tags[tag] for tag in ("data_md5", "split_sha256"))
