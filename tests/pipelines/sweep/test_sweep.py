"""A sweep for real: processes that share it, one that is killed; DVC, MLflow and the table then agree."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import optuna
import psutil
import pytest
import yaml
from mlflow import MlflowClient
from optuna.trial import TrialState

from pipelines.experiments.optuna_storage import open_storage
from tests.project import NO_MANNERS, Project, make_project

SPACE = {"train.learning_rate": {"low": 1e-4, "high": 2e-3}, "train.dropout": {"low": 0.0, "high": 0.2}}
PATIENCE = 600


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Project:
    """Few short reviews, one epoch: the trials are real, and short."""
    project = make_project(tmp_path_factory.mktemp("swept"), reviews, count=300)
    project.set_params(
        train={"epochs": 1, "max_tokens": 16},
        export={"precision": "fp32", "max_accuracy_loss": 1.0},  # int8 takes longer than the rest
        evaluate=NO_MANNERS,
    )
    (project.folder / "sweep.yaml").write_text(yaml.safe_dump({"trials": 2, "startup": 2, "space": SPACE}))
    project.commit("a short sweep")
    return project


@pytest.fixture(scope="module")
def study(project: Project) -> optuna.Study:
    """A sweep whose first process was killed with its first trial under way, and that two others ended."""
    killed = start(project, "killed.log")
    group = wait_for_first_trial(project)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    both = [start(project, f"{name}.log") for name in ("one", "two")]
    codes = [process.wait(PATIENCE) for process in both]
    logs = [(project.folder / "var" / f"{name}.log").read_text() for name in ("one", "two")]
    assert codes == [0, 0], logs
    assert not psutil.pid_exists(group)
    return opened(project)


def start(project: Project, log: str) -> subprocess.Popen[bytes]:
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "DVC_", "SWEEP_"))
    }
    (project.folder / "var").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pipelines.sweep", "--study", "s"]
    with (project.folder / "var" / log).open("w") as output:
        return subprocess.Popen(command, cwd=project.folder, env=mine, stdout=output, stderr=output)


def opened(project: Project) -> optuna.Study:
    return optuna.load_study(storage=open_storage(project.tracking_uri), study_name="s")


def wait_for_first_trial(project: Project) -> int:
    """The process group of the first trial."""
    last = time.monotonic() + PATIENCE
    while time.monotonic() < last:
        time.sleep(1)
        if not list((project.folder / "var/sweep/s").glob("*.log")):
            continue
        if group := opened(project).get_trials()[0].user_attrs.get("group"):
            return int(group)
    raise TimeoutError((project.folder / "var/killed.log").read_text())


def rows(project: Project) -> list[dict[str, str]]:
    with (project.folder / "results/sweep/trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_killed_and_shared_a_sweep_comes_to_its_total(project: Project, study: optuna.Study) -> None:
    """The trial of the killed process is tried again: that is the only one too many."""
    trials = study.get_trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert trials[0].state == TrialState.FAIL
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(finished) == 2
    assert any(trial.params == trials[0].params for trial in finished)
    assert all(trial.intermediate_values.keys() == {25, 50, 75} for trial in finished)
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    assert trials[0].params["train.learning_rate"] == params["train"]["learning_rate"]
    assert not list((project.folder / "var/sweep/work").iterdir())


def test_dvc_mlflow_and_the_table_agree(project: Project, study: optuna.Study) -> None:
    shown = {experiment["name"]: experiment for experiment in experiments(project)}
    mlflow.set_tracking_uri(project.tracking_uri)
    client = MlflowClient()
    parent = study.user_attrs["parent_run"]
    listed = [row for row in rows(project) if row["state"] == "finished"]
    assert listed
    for row in listed:
        run = client.get_run(row["run_id"])
        data = shown[row["experiment"]]["revs"][0]["data"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent
        for param in SPACE:
            theirs = data["params"]["params.yaml"]["data"]["train"][param.removeprefix("train.")]
            assert float(row[param]) == theirs == float(run.data.params[param])
        accuracy = data["metrics"]["results/evaluate/metrics.json"]["data"]["accuracy"]
        assert float(row["accuracy"]) == pytest.approx(accuracy) == run.data.metrics["accuracy"]
    artifacts = {file.path for file in client.list_artifacts(parent, "sweep")}
    assert artifacts == {
        f"sweep/{name}" for name in ("trials.csv", "parallel_coordinates.html", "parallel_coordinates.png")
    }


def test_the_best_run_is_registered(project: Project, study: optuna.Study) -> None:
    mlflow.set_tracking_uri(project.tracking_uri)
    version = MlflowClient().get_model_version_by_alias("sentiment", "challenger")
    best = study.best_trial
    assert version.run_id in {row["run_id"] for row in rows(project)}
    assert float(version.tags["accuracy"]) == pytest.approx(best.value, abs=1e-6)


def experiments(project: Project) -> list[dict[str, Any]]:
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    return [experiment for commit in shown for experiment in commit["experiments"] or []]


def test_a_queued_experiment_runs_with_the_default_store(project: Project, study: optuna.Study) -> None:
    project.run("dvc", "exp", "run", "--queue", "--name", "queued", "-S", "train.learning_rate=0.0002")
    project.run("dvc", "exp", "run", "--run-all")
    shown = {experiment["name"]: experiment["revs"][0]["data"] for experiment in experiments(project)}
    params = shown["queued"]["params"]["params.yaml"]["data"]
    assert params["train"]["learning_rate"] == 0.0002
    mlflow.set_tracking_uri(project.tracking_uri)
    (run,) = mlflow.search_runs(
        experiment_names=["sentiment"],
        filter_string="tags.dvc_experiment = 'queued'",
        output_format="list",
    )
    accuracy = shown["queued"]["metrics"]["results/evaluate/metrics.json"]["data"]["accuracy"]
    assert run.data.metrics["accuracy"] == pytest.approx(accuracy)
