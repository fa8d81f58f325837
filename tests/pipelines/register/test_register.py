"""The choice of the challenger and its reason, in a real MLflow store, also by concurrent processes."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from bentos.sentiment.promotion.evaluated_version import evaluated
from pipelines.core.errors import PipelineError
from pipelines.register import candidates
from pipelines.register.description import REPORT
from pipelines.register.evidence import TEXTS
from pipelines.register.registry import register, version_of
from tests.bentos.conftest import Registry, copy, serve_registry
from tests.pipelines.concurrency import register_run, run_concurrently
from tests.pipelines.runs import EQUAL, TAGS, export, log, measure, models


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """An MLflow database with the registered model and without runs."""
    registry = Registry(tmp_path_factory.mktemp("mlflow"))
    shutil.copy(empty_store, registry.folder / "mlflow.db")
    registry.client.create_registered_model("sentiment")
    return registry.folder / "mlflow.db"


@pytest.fixture
def client(database: Path, tmp_path: Path) -> Iterator[MlflowClient]:
    client = copy(database, tmp_path).client
    mlflow.set_tracking_uri(client.tracking_uri)
    yield client
    mlflow.set_tracking_uri("")


@pytest.fixture(params=["sqlite", "http"])
def uri(request: pytest.FixtureRequest, database: Path, tmp_path: Path) -> Iterator[str]:
    """The URI of a store that several processes use, directly or through a server."""
    if request.param == "sqlite":
        yield copy(database, tmp_path).uri
    else:
        with serve_registry(database, tmp_path / "server") as server:
            yield server.url
    mlflow.set_tracking_uri("")


def description(version: ModelVersion) -> str:
    return version.description or ""


def name(client: MlflowClient, run: Run) -> str:
    return models(client, run)[0].name


def challenger_after(client: MlflowClient, run: Run, refuse_dirty: bool = False) -> ModelVersion:
    """Register on the data and split of the run, and return the challenger."""
    version, _ = register(client, run, refuse_dirty)
    challenger = client.get_model_version_by_alias("sentiment", "challenger")
    assert challenger.version == version.version
    return challenger


def all_versions(client: MlflowClient) -> list[ModelVersion]:
    return list(client.search_model_versions("name = 'sentiment'"))


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        ({"accuracy": 0.9, "log_loss": 0.9}, {}, "next is NEXT with 0.8000, 0.1000 less"),
        (
            {"log_loss": 0.4, "texts_per_second": 1},
            {},
            "a tie with NEXT, broken by log_loss: 0.4 against 0.5",
        ),
        ({"texts_per_second": 101}, {}, "a tie with NEXT, broken by texts_per_second: 101 against 100"),
        (
            {"log_loss": 9.0},
            {"log_loss": float("nan")},
            "a tie with NEXT, broken by log_loss: 9 against unknown",
        ),
        ({}, {}, "a tie with NEXT, broken by age: this one is the older"),
    ],
)
def test_accuracy_decides_then_log_loss_then_speed_then_age(
    client: MlflowClient, better: dict[str, float], worse: dict[str, float], reason: str
) -> None:
    """The better run is the newer one, except where age decides."""
    runs = [log(client, **worse), log(client, **better)]
    best, other = runs if better == worse else runs[::-1]
    version = challenger_after(client, other)
    assert version.run_id == best.info.run_id
    assert reason.replace("NEXT", name(client, other)) in description(version)


def test_a_run_without_the_tie_breaker_loses_the_tie(client: MlflowClient) -> None:
    run = log(client)
    export(client, run, TAGS, {"accuracy": 0.8})  # evaluated before log_loss was a metric
    without = models(client, run)[-1]
    assert candidates.rank(models(client, log(client, log_loss=99.0))[0]) < candidates.rank(without)


def test_the_best_run_is_found_on_the_last_page(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow returns the newest runs first."""
    runs = [log(client, accuracy=0.9 - i / 10) for i in range(5)]
    monkeypatch.setattr(candidates, "_PAGE", 2)
    version = challenger_after(client, runs[-1])
    assert version.run_id == runs[0].info.run_id
    assert "the best of 5 models" in description(version)


@pytest.mark.parametrize("tag", ["data_md5", "split_sha256"])
def test_runs_on_other_data_or_another_split_are_not_considered(client: MlflowClient, tag: str) -> None:
    log(client, {tag: "another"}, accuracy=0.99)
    run = log(client)
    version = challenger_after(client, run)
    assert version.run_id == run.info.run_id
    assert "the only model" in description(version)


@pytest.mark.parametrize(
    ("tags", "metrics", "reason"),
    [
        (
            {"behaviour": "failed: negation 0.61, at least 0.70"},
            {},
            "behaviour failed: negation 0.61, at least 0.70",
        ),
        ({"behaviour": ""}, {}, "behaviour"),
        ({}, {"accuracy": float("nan")}, "it has no accuracy"),
        ({"git_dirty": "true"}, {}, "register.refuse_dirty"),
        ({"changed_while_training": "git_sha"}, {}, "register.refuse_dirty"),
    ],
)
def test_a_refused_run_is_named_with_the_reason(
    client: MlflowClient, tags: dict[str, str], metrics: dict[str, float], reason: str
) -> None:
    refused = log(client, tags, **({"accuracy": 0.9} | metrics))
    with pytest.raises(PipelineError, match="no model on this data and split") as error:
        register(client, refused, refuse_dirty=True)
    assert f"{name(client, refused)}: " in str(error.value)
    assert reason in str(error.value)
    other = log(client)
    version = challenger_after(client, refused, refuse_dirty=True)
    assert version.run_id == other.info.run_id
    assert f"Not considered: {name(client, refused)}: " in description(version)
    assert reason in description(version)


def test_a_run_with_uncommitted_changes_is_accepted_by_default_and_marked(client: MlflowClient) -> None:
    version = challenger_after(client, log(client, {"git_dirty": "true"}))
    assert version.tags["git_dirty"] == "true"
    assert "with uncommitted changes" in description(version)


def test_an_untested_or_unfinished_run_is_not_considered(client: MlflowClient) -> None:
    """One was evaluated by an earlier release, without behavioural tests; the other is still training."""
    old, running, run = log(client, accuracy=0.99), log(client, accuracy=0.98), log(client)
    client.delete_logged_model_tag(models(client, old)[0].model.model_id, "behaviour")
    client.update_run(running.info.run_id, status="RUNNING")
    version = challenger_after(client, run)
    assert version.run_id == run.info.run_id
    assert f"{name(client, old)}: behaviour never tested" in description(version)
    assert name(client, running) not in description(version)


def test_the_description_has_accuracy_comparisons_and_links(client: MlflowClient, tmp_path: Path) -> None:
    first = challenger_after(client, log(client))
    run = log(client, accuracy=0.85, accuracy_low=0.83, accuracy_high=0.87, champion_difference_low=0.0123)
    (tmp_path / "report.html").write_text("<h1>Report</h1>")
    client.log_artifact(run.info.run_id, str(tmp_path / "report.html"), "report")
    text = description(challenger_after(client, run))
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    for line in (
        "accuracy 0.8500 (95 %: 0.8300 to 0.8700), the best of 2 models on this data and split",
        f"Replaces version {first.version}, accuracy 0.800000\n",
        "Against the champion, champion difference low: +0.0123",
        "DVC experiment: dvc_experiment",
        f"]({page})",
        f"[Report]({page}/artifacts/{REPORT})",
    ):
        assert line in text
    other_data = challenger_after(client, log(client, {"data_md5": "another"}))
    assert "on other data or another split: not comparable" in description(other_data)


def test_a_new_evaluation_updates_the_version(client: MlflowClient) -> None:
    run = log(client)
    before = challenger_after(client, run)
    measure(client, models(client, run)[0].model, {"accuracy": 0.81}, time=1)
    after = challenger_after(client, run)
    assert after.version == before.version
    assert float(after.tags["accuracy"]) == 0.81
    assert "accuracy 0.8100" in description(after)


def test_a_second_export_is_registered_only_with_metrics_of_its_own(client: MlflowClient) -> None:
    """The run still has the accuracy of its first model."""
    run = log(client, accuracy=0.9)
    first = challenger_after(client, run)
    second = export(client, run, TAGS, {})
    found = register(client, run, refuse_dirty=False)
    assert found[0].version == first.version
    assert found[1].refused == {
        models(client, run)[1].name: "it has no accuracy; `evaluate` has not run on this export"
    }
    measure(client, second, EQUAL | {"accuracy": 0.91})
    version = challenger_after(client, run)
    assert version.source == second.model_uri or version.source == second.artifact_location
    assert float(version.tags["accuracy"]) == 0.91
    earlier = client.get_model_version("sentiment", first.version)
    assert float(earlier.tags["accuracy"]) == 0.9
    assert client.get_run(run.info.run_id).data.metrics["accuracy"] == 0.91
    assert evaluated(client, earlier).metric("accuracy") == 0.9


def test_a_model_that_lost_too_much_accuracy_stays_refused_when_its_run_exports_another(
    client: MlflowClient,
) -> None:
    run = log(client, {"refused": "the loss of 0.02 exceeds export.max_accuracy_loss"}, accuracy=0.9)
    other = export(client, run, TAGS, EQUAL)
    version = challenger_after(client, run)
    assert version.source in (other.model_uri, other.artifact_location)
    assert "exceeds export.max_accuracy_loss" in description(version)


def test_registering_again_changes_nothing(client: MlflowClient) -> None:
    run = log(client)
    before = dict(challenger_after(client, run))
    assert dict(challenger_after(client, run)) == before


def test_a_version_has_evidence_of_its_files_and_answers(client: MlflowClient) -> None:
    """The hash is that of `cd serving; sha256sum * | sha256sum`."""
    run = log(client)
    version = challenger_after(client, run)
    folder = Path(urlsplit(version_source(client, run)).path) / "serving"
    command = "LC_ALL=C; sha256sum * | sha256sum"
    printed = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert version.tags["serving_sha256"] == printed.stdout.split()[0]
    probabilities = json.loads(version.tags["golden"])
    assert [probabilities[text] > 0.5 for text in TEXTS] == [True, False, True, False]


def test_a_version_registered_without_evidence_gets_it_once(client: MlflowClient) -> None:
    run = log(client)
    version = challenger_after(client, run)
    for tag in ("serving_sha256", "golden"):
        client.delete_model_version_tag("sentiment", version.version, tag)
    assert dict(challenger_after(client, run).tags) == dict(version.tags)
    labels = Path(urlsplit(version_source(client, run)).path) / "serving" / "serving.json"
    labels.write_text(labels.read_text().replace("positive", "negative"))
    assert dict(challenger_after(client, run).tags) == dict(version.tags), "never replaced"


def version_source(client: MlflowClient, run: Run) -> str:
    return str(models(client, run)[0].model.artifact_location)


def register_all(uri: str, accuracies: list[float | None], run: Run) -> None:
    """Register in one process per accuracy, all at the same time."""
    run_concurrently(register_run, *((uri, accuracy, run.info.run_id) for accuracy in accuracies))


@pytest.mark.process
def test_concurrent_processes_register_each_run_once_and_choose_the_best(uri: str) -> None:
    client = MlflowClient(uri)
    mlflow.set_tracking_uri(uri)
    run = log(client, accuracy=0.7)
    register_all(uri, [None] * 6, run)
    [version] = all_versions(client)
    assert version_of(client, models(client, run)[0]).version == version.version
    assert client.get_model_version_by_alias("sentiment", "challenger").version == version.version

    register_all(uri, [0.80, 0.83, 0.81, 0.82, None, None], run)
    runs = [version.run_id for version in all_versions(client)]
    assert len(runs) == len(set(runs))
    challenger = client.get_model_version_by_alias("sentiment", "challenger")
    assert float(challenger.tags["accuracy"]) == 0.83
