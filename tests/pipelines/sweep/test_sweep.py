"""A sweep that several processes share after one was killed, with short but real trainings."""

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
from tests.pipelines.processes import running
from tests.project import NO_BEHAVIOUR_LIMITS, Project, make_project

SPACE = {"train.learning_rate": {"low": 1e-4, "high": 2e-3}, "train.dropout": {"low": 0.0, "high": 0.2}}

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, reviews: Path, tiny_encoder: Path, empty_store: Path
) -> Project:
    """A project whose trials take seconds: a few short reviews, one epoch and a tiny encoder.

    The results of `prepare` and `pretrain` are in DVC's cache, so no trial runs these stages.
    """
    project = make_project(tmp_path_factory.mktemp("sweep"), reviews, count=300)
    project.set_params(
        train={"base": str(tiny_encoder), "epochs": 1, "max_tokens": 16},
        export={"precision": "fp32", "max_accuracy_loss": 1.0},  # int8 takes longer than the rest
        evaluate=NO_BEHAVIOUR_LIMITS,
    )
    sweep = {"trials": 2, "startup": 2, "finalists": 1, "seeds": 2, "space": SPACE}
    (project.folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    evaluated = project.folder / "results/evaluate/metrics.json"  # of the committed model
    evaluated.parent.mkdir(parents=True)
    evaluated.write_text(json.dumps({"accuracy": 0.123}))
    for stage in ("prepare", "pretrain"):
        project.run_module(stage)
    project.run("dvc", "commit", "--force", "prepare", "pretrain")
    project.commit("a short sweep")
    (project.folder / "var").mkdir(exist_ok=True)
    shutil.copy(empty_store, project.folder / "var" / "mlflow.db")
    return project


@pytest.fixture(scope="module")
def study(project: Project) -> optuna.Study:
    """A sweep whose first process was killed during its first trial; two others then finished it."""
    groups: list[int] = []

    def has_first_trial_started() -> bool:
        if list((project.folder / "var/sweep/s").glob("*.log")):
            groups.extend(filter(None, [load_study(project).get_trials()[0].user_attrs.get("group")]))
        return bool(groups)

    with running(project, "sweep", "--study", "s") as killed:
        killed.wait_until(has_first_trial_started)
        killed.send(signal.SIGKILL)
    with ExitStack() as stack:
        others = [stack.enter_context(running(project, "sweep", "--study", "s")) for _ in range(2)]
        codes = [process.wait() for process in others]
    assert codes == [0, 0], [process.output for process in others]
    assert not psutil.pid_exists(groups[0])
    return load_study(project)


def load_study(project: Project) -> optuna.Study:
    return optuna.load_study(storage=open_storage(project.tracking_uri), study_name="s")


def table(project: Project, name: str = "trials") -> list[dict[str, str]]:
    with (project.folder / f"results/sweep/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_reaches_its_total_although_a_process_is_killed(
    project: Project, study: optuna.Study
) -> None:
    """The trial of the killed process does not count towards the total, and its params are used again."""
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


def test_dvc_mlflow_and_the_table_have_the_same_params_and_accuracy(
    project: Project, study: optuna.Study
) -> None:
    by_name = {experiment["name"]: experiment for experiment in experiments(project)}
    mlflow.set_tracking_uri(project.tracking_uri)
    client = MlflowClient()
    parent = study.user_attrs["parent_run"]
    trials, finals = table(project), table(project, "finals")
    assert [row["state"] for row in trials] == ["finalist", "finished"]
    for row in [*trials, *finals]:
        run = client.get_run(row["run_id"])
        data = by_name[row["experiment"]]["revs"][0]["data"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent
        by_number = {trial["trial"]: trial for trial in trials}
        for param in SPACE:
            in_dvc = data["params"]["params.yaml"]["data"]["train"][param.removeprefix("train.")]
            assert float(by_number[row["trial"]][param]) == in_dvc == float(run.data.params[param])
        evaluated = data["metrics"].get("results/evaluate/metrics.json", {}).get("data")
        if row in trials:
            assert float(row["trained_accuracy"]) == pytest.approx(run.data.metrics["eval_accuracy"])
            assert not evaluated, "the trial ended after `train`, and shows another model's evaluation"
        else:
            assert float(row["served_accuracy"]) == pytest.approx(evaluated["accuracy"])
            assert evaluated["accuracy"] == run.data.metrics["accuracy"]
    artifacts = {file.path for file in client.list_artifacts(parent, "sweep")}
    names = (
        "trials.csv",
        "finals.csv",
        "finals.png",
        "parallel_coordinates.html",
        "parallel_coordinates.png",
    )
    assert artifacts == {f"sweep/{name}" for name in names}


def test_only_finalists_are_evaluated_and_with_the_first_seed_not_trained_again(
    project: Project, study: optuna.Study
) -> None:
    mlflow.set_tracking_uri(project.tracking_uri)
    client = MlflowClient()
    best, other = table(project)
    finals = table(project, "finals")
    assert [(row["trial"], row["seed"]) for row in finals] == [(best["trial"], "42"), (best["trial"], "43")]
    assert finals[0]["run_id"] == best["run_id"] != finals[1]["run_id"]
    assert "accuracy" not in client.get_run(other["run_id"]).data.metrics
    mean = sum(float(row["served_accuracy"]) for row in finals) / 2
    assert float(best["served_accuracy"]) == pytest.approx(mean)
    assert client.get_run(study.user_attrs["parent_run"]).data.metrics["best_accuracy"] == pytest.approx(mean)


def test_the_best_run_is_registered(project: Project, study: optuna.Study) -> None:
    mlflow.set_tracking_uri(project.tracking_uri)
    version = MlflowClient().get_model_version_by_alias("sentiment", "challenger")
    finals = {row["run_id"]: float(row["served_accuracy"]) for row in table(project, "finals")}
    assert version.run_id in finals
    assert float(version.tags["accuracy"]) == pytest.approx(max(finals.values()), abs=1e-6)


def experiments(project: Project) -> list[dict[str, Any]]:
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    return [experiment for commit in shown for experiment in commit["experiments"] or []]
