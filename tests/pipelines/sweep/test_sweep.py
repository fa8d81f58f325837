"""A sweep for real: processes that share it, one that is killed; DVC, MLflow and the table then agree."""

import csv
import json
import shutil
import signal
from contextlib import ExitStack
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
from tests.pipelines.processes import run_stage, running
from tests.project import NO_MANNERS, Project, make_project

SPACE = {"train.learning_rate": {"low": 1e-4, "high": 2e-3}, "train.dropout": {"low": 0.0, "high": 0.2}}

# The tests look at one sweep.
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, reviews: Path, tiny_encoder: Path, empty_store: Path
) -> Project:
    """Few short reviews, one epoch of a tiny encoder: the trials are real, and short.

    What `prepare` and `pretrain` write is in DVC's cache, so that no trial runs them.
    """
    project = make_project(tmp_path_factory.mktemp("swept"), reviews, count=300)
    project.set_params(
        train={"base": str(tiny_encoder), "epochs": 1, "max_tokens": 16},
        export={"precision": "fp32", "max_accuracy_loss": 1.0},  # int8 takes longer than the rest
        evaluate=NO_MANNERS,
    )
    (project.folder / "sweep.yaml").write_text(yaml.safe_dump({"trials": 2, "startup": 2, "space": SPACE}))
    for stage in ("prepare", "pretrain"):
        run_stage(project.folder, stage)
    project.run("dvc", "commit", "--force", "prepare", "pretrain")
    project.commit("a short sweep")
    (project.folder / "var").mkdir(exist_ok=True)
    shutil.copy(empty_store, project.folder / "var" / "mlflow.db")
    return project


@pytest.fixture(scope="module")
def study(project: Project) -> optuna.Study:
    """A sweep whose first process was killed with its first trial under way, and that two others ended."""
    groups: list[int] = []

    def first_trial_runs() -> bool:
        if list((project.folder / "var/sweep/s").glob("*.log")):
            groups.extend(filter(None, [opened(project).get_trials()[0].user_attrs.get("group")]))
        return bool(groups)

    with running(project.folder, "sweep", "--study", "s") as killed:
        killed.wait_until(first_trial_runs)
        killed.send(signal.SIGKILL)
    with ExitStack() as stack:
        both = [stack.enter_context(running(project.folder, "sweep", "--study", "s")) for _ in range(2)]
        codes = [process.end() for process in both]
    assert codes == [0, 0], [process.output for process in both]
    assert not psutil.pid_exists(groups[0])
    return opened(project)


def opened(project: Project) -> optuna.Study:
    return optuna.load_study(storage=open_storage(project.tracking_uri), study_name="s")


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
