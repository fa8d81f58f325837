"""The whole pipeline on a sample of the data with the packaged encoder: results, DVC, MLflow and lineage."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from pipelines.register.candidates import LINEAGE
from pipelines.register.registry import version_of
from pipelines.served_form.classifier import Classifier, probabilities
from pipelines.statistics.calibration import fit_temperature
from tests.pipelines.runs import models
from tests.project import Project, copy_project

# The tests share a project and run in the order of this file.
pytestmark = pytest.mark.process

RESULTS = {
    "prepare": {
        "train.csv",
        "calibration.csv",
        "validation.csv",
        "test.csv",
        "summary.json",
        "data_report.html",
    },
    "pretrain": {"encoder.safetensors", "history.csv"},
    "train": {"model", "run.json", "history.csv"},
    "export": {"reference", "serving", "model.json"},
    "evaluate": {
        *("metrics.json", "report.html", "model_card.md"),
        *("predictions.csv", "confusion.csv", "roc.csv", "precision_recall.csv", "slices.csv"),
    },
    "register": {"version.json"},
}


@pytest.fixture(scope="module")
def client(trained: Project) -> MlflowClient:
    mlflow.set_tracking_uri(trained.tracking_uri)
    return MlflowClient()


@pytest.fixture(scope="module")
def run(trained: Project, client: MlflowClient) -> Run:
    return client.get_run(read(trained, "train/run.json")["run_id"])


def read(project: Project, name: str) -> Any:
    return json.loads((project.folder / "results" / name).read_text())


def test_each_stage_writes_its_results(trained: Project) -> None:
    results = trained.folder / "results"
    found = {
        stage.name: {path.name for path in stage.iterdir()} - {".gitignore"} for stage in results.iterdir()
    }
    found["train"] -= {"checkpoints"}
    assert found == RESULTS


def test_the_model_learns(trained: Project) -> None:
    """Always predicting the more frequent label has an accuracy of 0.58."""
    assert read(trained, "evaluate/metrics.json")["accuracy"] > 0.65


def test_a_second_repro_runs_no_stage(trained: Project) -> None:
    lock = (trained.folder / "dvc.lock").read_bytes()
    done = trained.run("dvc", "repro")
    assert "Running stage" not in done.stdout
    assert "up to date" in done.stdout
    assert (trained.folder / "dvc.lock").read_bytes() == lock


def test_dvc_shows_metrics_plots_and_experiments(trained: Project) -> None:
    accuracy = read(trained, "evaluate/metrics.json")["accuracy"]
    metrics = json.loads(trained.run("dvc", "metrics", "show", "--json").stdout)
    assert metrics[""]["data"]["results/evaluate/metrics.json"]["data"]["accuracy"] == accuracy
    page = Path(trained.run("dvc", "plots", "show").stdout.strip().removeprefix("file://")).read_text()
    assert all(title in page for title in ("Confusion matrix", "ROC", "Training loss"))
    table = trained.run("dvc", "exp", "show", "--csv").stdout
    assert "accuracy" in table
    assert "train.learning_rate" in table


def test_the_run_has_params_metrics_plots_datasets_and_lineage(
    trained: Project, client: MlflowClient, run: Run
) -> None:
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "1.0"
    metrics = read(trained, "evaluate/metrics.json")
    assert {name: run.data.metrics[name] for name in metrics} == pytest.approx(metrics)
    assert len(client.get_metric_history(run.info.run_id, "loss")) >= 1
    plots = {file.path for file in client.list_artifacts(run.info.run_id, "plots")}
    assert {f"plots/{name}.png" for name in ("confusion_matrix", "roc", "precision_recall")} < plots
    assert run.inputs
    inputs = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    assert inputs["training"].digest != inputs["validation"].digest
    assert read(trained, "prepare/summary.json")["data_md5"] == run.data.tags["data_md5"]
    assert run.data.tags["git_sha"] == trained.run("git", "rev-parse", "HEAD").stdout.strip()
    assert run.data.tags["git_dirty"] == "false"


def test_the_registered_version_has_the_lineage_and_is_the_challenger(
    trained: Project, client: MlflowClient, run: Run
) -> None:
    version = client.get_model_version_by_alias("sentiment", "challenger")
    assert version.run_id == run.info.run_id
    assert int(version.version) == read(trained, "register/version.json")["version"]
    assert float(version.tags["accuracy"]) == pytest.approx(run.data.metrics["accuracy"], abs=1e-6)
    lineage = {name: run.data.tags[name] for name in LINEAGE}
    assert lineage.items() <= version.tags.items()


# Loading a model gives warnings of MLflow and transformers.
@pytest.mark.filterwarnings("ignore")
def test_both_forms_of_the_registered_model_give_the_same_results(
    trained: Project, client: MlflowClient
) -> None:
    reviews = pd.read_csv(trained.folder / "results/prepare/validation.csv")["text"]
    # Of one window, which is all that transformers reads.
    texts = [*reviews[reviews.str.len() < 80][:40], "Lovely & funny", "bad 0/10"]
    assert len(texts) == 42
    uri = "models:/sentiment@challenger"
    reference = probabilities(trained.folder / "results/export/reference", texts)
    raw = [*texts[:40], '<div class="terrible">Lovely &amp; funny</div>', "👎👎👎 0/10"]
    answers = mlflow.pyfunc.load_model(uri).predict(raw)
    positive = np.where(answers["label"] == "positive", answers["score"], 1 - answers["score"])
    np.testing.assert_allclose(positive, reference, atol=1e-3)
    served = Path(mlflow.artifacts.download_artifacts(f"{uri}/serving"))
    exported = trained.folder / "results/export/serving"
    for name in ("model.xml", "model.bin", "tokenizer.json", "serving.json", "known_words.npy"):
        assert (served / name).read_bytes() == (exported / name).read_bytes(), name
    pipeline = mlflow.transformers.load_model(uri)
    assert type(pipeline.model).__name__ == "DistilBertForSequenceClassification"


def test_the_served_form_is_int8_and_close_to_its_reference(trained: Project) -> None:
    export = trained.folder / "results/export"
    sizes = {form: (export / form / "model.bin").stat().st_size for form in ("serving", "reference")}
    assert sizes["serving"] < 0.5 * sizes["reference"]
    metrics = read(trained, "evaluate/metrics.json")
    assert metrics["agreement"] > 0.95
    assert metrics["accuracy_loss"] == pytest.approx(metrics["reference_accuracy"] - metrics["accuracy"])
    assert metrics["agreement_without_vnni"] > 0.95
    assert metrics["accuracy_loss_without_vnni"] == pytest.approx(
        metrics["reference_accuracy"] - metrics["accuracy_without_vnni"]
    )


def test_the_run_has_intervals_behavioural_tests_and_a_report(
    trained: Project, client: MlflowClient, run: Run
) -> None:
    metrics = run.data.metrics
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    others = {"log_loss", "roc_auc", "pr_auc", "brier", "ece", "texts_per_second", "model_mib", "temperature"}
    assert all(metrics[name] > 0 for name in others)
    assert run.data.tags["behaviour"] == "passed"
    assert "champion_difference" not in metrics
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"model_card.md", "predictions.csv", "report"} <= artifacts
    report = Path(
        mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="report/report.html")
    )
    assert report.read_bytes() == (trained.folder / "results/evaluate/report.html").read_bytes()


def test_the_report_is_one_self_contained_page(trained: Project) -> None:
    page = (trained.folder / "results/evaluate/report.html").read_text()
    assert set(re.findall(r'(?:src|href)="(data:image/svg|#|[^"]{8})', page)) == {"data:image/svg", "#"}
    assert page.count("<img") == 7
    assert "there is no champion to compare with yet" in page
    card = (trained.folder / "results/evaluate/model_card.md").read_text()
    assert read(trained, "prepare/summary.json")["data_md5"] in card
    assert f"{read(trained, 'evaluate/metrics.json')['accuracy']:.4f}" in card


def test_the_served_form_is_calibrated(trained: Project) -> None:
    """Its logits are already divided by the temperature that fits the calibration reviews best."""
    folder = trained.folder / "results"
    reviews = pd.read_csv(folder / "prepare/calibration.csv")
    served = Classifier(folder / "export/serving")
    assert served.temperature != 1
    logits = served.logits(reviews["text"].tolist())
    remaining = fit_temperature(logits, reviews["label"].to_numpy(), served.positive)
    assert remaining == pytest.approx(1, abs=1e-3)


def test_registering_again_changes_nothing(trained: Project, client: MlflowClient) -> None:
    before = [dict(version) for version in client.search_model_versions("name = 'sentiment'")]
    trained.run_module("register")
    assert [dict(version) for version in client.search_model_versions("name = 'sentiment'")] == before


def test_the_description_of_the_challenger_has_the_reason_for_the_choice(
    trained: Project, client: MlflowClient, run: Run
) -> None:
    version = client.get_model_version_by_alias("sentiment", "challenger")
    reason = read(trained, "register/version.json")["reason"]
    assert "the only model on this data and split" in reason
    assert reason in (version.description or "")
    assert run.info.run_id in (version.description or "")


@dataclass(frozen=True)
class Compared:
    """A copy of the project with committed results and, in it, an experiment with a worse model."""

    project: Project
    client: MlflowClient
    best: ModelVersion
    worse: Run


@pytest.fixture(scope="module")
def compared(trained: Project, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    """Run the queued experiment `worse`, which DVC trains in a temporary folder, with a champion in place."""
    project = copy_project(trained, tmp_path_factory.mktemp("compared") / "project")
    project.commit("results of a short training")
    mlflow.set_tracking_uri(project.tracking_uri)
    client = MlflowClient()
    best = client.get_model_version_by_alias("sentiment", "challenger")
    client.set_registered_model_alias("sentiment", "champion", best.version)
    changes = ("train.epochs=0.05", "export.precision=fp32", "evaluate.behaviour.minimum_function=1.0")
    sets = [word for change in changes for word in ("-S", change)]
    project.run("dvc", "exp", "run", "--queue", "--name", "worse", *sets)
    project.run("dvc", "exp", "run", "--run-all")
    worse, _ = client.search_runs([run.info.experiment_id], order_by=["attributes.start_time DESC"])
    yield Compared(project, client, best, worse)
    mlflow.set_tracking_uri("")


def test_a_worse_run_does_not_become_the_challenger(compared: Compared, run: Run) -> None:
    best, worse = compared.best, compared.worse
    assert compared.client.get_model_version_by_alias("sentiment", "challenger").version == best.version
    assert worse.data.tags["behaviour"].startswith("failed: minimum_function 0.")
    difference = worse.data.metrics["accuracy"] - run.data.metrics["accuracy"]
    assert worse.data.metrics["champion_difference"] == pytest.approx(difference)
    assert worse.data.metrics["champion_difference_high"] < 0
    assert worse.data.metrics["mcnemar_p"] < 0.05
    assert worse.data.tags["champion_version"] == str(best.version)
    assert run.data.tags["champion_version"] == "none"
    report = compared.client.download_artifacts(worse.info.run_id, "report/report.html")
    assert f"worse than the champion, version {best.version}" in Path(report).read_text()


def test_a_finished_experiment_leaves_no_checkpoint(compared: Compared) -> None:
    assert not list((compared.project.folder / "var/checkpoints").iterdir())


def test_a_queued_experiment_logs_to_the_projects_store(compared: Compared, run: Run) -> None:
    project, worse = compared.project, compared.worse
    assert worse.data.tags["dvc_experiment"] == "worse"
    assert read(project, "train/run.json")["run_id"] == run.info.run_id
    table = list(csv.DictReader(project.run("dvc", "exp", "show", "--csv").stdout.splitlines()))
    rows = {row["Experiment"]: row for row in table if row["rev"] == "workspace" or row["Experiment"]}
    run_ids = {name: row["run_id"] for name, row in rows.items()}
    assert run_ids == {"": run.info.run_id, "worse": worse.info.run_id}
    assert float(rows["worse"]["train.epochs"]) == 0.05
    assert float(rows["worse"]["accuracy"]) == pytest.approx(worse.data.metrics["accuracy"], abs=1e-4)
    output = project.run_module("lineage", "--experiment", "worse").stdout
    assert worse.info.run_id in output


def test_a_fresh_clone_compares_commits_without_a_dvc_cache(compared: Compared, tmp_path: Path) -> None:
    project = compared.project
    project.run("dvc", "exp", "branch", "worse", "worse")
    project.run("git", "clone", "--quiet", str(project.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    assert not (clone.folder / ".dvc/cache").exists()
    accuracies = [read(project, "evaluate/metrics.json")["accuracy"]]
    accuracies.append(pytest.approx(compared.worse.data.metrics["accuracy"]))
    both = ("HEAD", "origin/worse")
    metrics = json.loads(clone.run("dvc", "metrics", "diff", "--json", *both).stdout)
    accuracy = metrics["results/evaluate/metrics.json"]["accuracy"]
    assert [accuracy["old"], accuracy["new"]] == accuracies
    page = Path(clone.run("dvc", "plots", "diff", *both).stdout.strip().removeprefix("file://")).read_text()
    # Without pre-training, which is the default, its plot has no points and is omitted.
    titles = ("Training loss", "Confusion matrix", "ROC", "Precision and recall")
    assert all(title in page for title in (*titles, "Accuracy of slices", *both))
    rows = list(csv.DictReader(clone.run("dvc", "exp", "show", "--csv").stdout.splitlines()))
    assert [float(row["accuracy"]) for row in rows] == [accuracies[0]] * len(rows)
    assert rows


def test_a_version_is_restored_and_reproduced(compared: Compared, tmp_path: Path) -> None:
    """The version of the experiment, whose params were never committed to git."""
    project, worse = compared.project, compared.worse
    version = version_of(compared.client, models(compared.client, worse)[0]).version
    params = (project.folder / "params.yaml").read_text()
    lineage = ("--version", str(version))
    done = project.run_module("lineage", *lineage, "--into", str(tmp_path / "restored"), "--repro")
    assert "bit for bit" in done.stdout.splitlines()[-1]
    assert worse.data.tags["git_sha"] in done.stdout
    assert f"hardware    processor {worse.data.tags['processor']}, " in done.stdout
    assert f"sha256 {worse.data.tags['constraints_sha256']}" in done.stdout
    assert "epochs: 0.05" in (tmp_path / "restored" / "params.yaml").read_text()
    assert (project.folder / "params.yaml").read_text() == params
    metrics = tmp_path / "restored/results/evaluate/metrics.json"
    metrics.write_text(json.dumps({"accuracy": worse.data.metrics["accuracy"] + 0.01}))
    differing = project.run_module("lineage", *lineage, "--check", str(tmp_path / "restored"), check=False)
    assert differing.returncode == 1
    assert "not reproduced within 0.005" in differing.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--version", "99"), "sentiment has no version 99; existing versions: 1"),
        (("--experiment", "nobody"), "see `dvc exp show`"),
        (("--version", "1", "--repro"), "--repro needs --into"),
    ],
)
def test_lineage_of_something_unknown_is_an_error(
    trained: Project, words: tuple[str, ...], message: str
) -> None:
    done = trained.run_module("lineage", *words, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_manually_registered_version_cannot_be_restored(trained: Project, client: MlflowClient) -> None:
    version = client.create_model_version("sentiment", source=str(trained.folder / "results/train/model"))
    done = trained.run_module("lineage", "--version", str(version.version), check=False)
    client.delete_model_version("sentiment", version.version)
    assert done.returncode == 1
    assert "registered manually" in done.stderr


def test_a_stage_without_its_mlflow_store_asks_for_a_forced_repro(
    trained: Project, empty_store: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_store, tmp_path / "other.db")
    other_store = f"sqlite:///{tmp_path / 'other.db'}"
    done = trained.run_module("evaluate", check=False, env={"MLFLOW_TRACKING_URI": other_store})
    assert done.returncode == 1
    assert "dvc repro --force" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
