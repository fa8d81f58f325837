"""The stages up to `export` with a tiny encoder, in two folders."""

import shutil
from pathlib import Path

import pytest

from tests.pipelines.hub_server import hub
from tests.project import Project, make_project

pytestmark = pytest.mark.process

STAGES = ("prepare", "pretrain", "train", "export")
IDS = ("train/run.json", "export/model.json")


@pytest.fixture(scope="module")
def projects(
    tmp_path_factory: pytest.TempPathFactory, reviews: Path, tiny_encoder: Path, empty_store: Path
) -> list[Project]:
    """Two projects in different folders, whose stages have run up to `export`."""
    made = []
    for name in ("one", "another"):
        project = make_project(tmp_path_factory.mktemp(name), reviews, count=150)
        project.set_params(train={"base": str(tiny_encoder), "epochs": 1}, pretrain={"epochs": 1})
        project.set_params(export={"calibration_reviews": 10})
        (project.folder / "var").mkdir(exist_ok=True)
        shutil.copy(empty_store, project.folder / "var" / "mlflow.db")
        for stage in STAGES:
            project.run_module(stage)
        made.append(project)
    return made


def outputs(project: Project) -> dict[str, bytes]:
    """Return the content of the results, but for the ids of the MLflow run and of the logged model."""
    results = project.folder / "results"
    files = {str(path.relative_to(results)): path for path in results.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in IDS}


def test_the_results_are_the_same_in_another_folder(projects: list[Project]) -> None:
    one, another = map(outputs, projects)
    assert one.keys() == another.keys()
    assert [name for name in one if one[name] != another[name]] == []
    folders = [str(project.folder).encode() for project in projects]
    assert [name for name in one if any(folder in one[name] for folder in folders)] == []


def test_export_leaves_no_checkpoint(projects: list[Project]) -> None:
    assert not list((projects[0].folder / "var/checkpoints").iterdir())


def test_export_asks_nothing_of_the_hub(projects: list[Project]) -> None:
    """In a process of its own, since the hub's client reads its settings when it is imported."""
    with hub() as (url, requested):
        environment = {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "PYTHONPATH": ""}
        projects[0].run("python", "-m", "pipelines.export", env=environment)
    assert requested == []
