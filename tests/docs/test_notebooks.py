"""The notebooks of docs/notebooks: as they are committed, and executed in a project with two runs."""

import json
import re
from itertools import chain
from pathlib import Path

import mlflow
import nbformat
import pandas as pd
import pytest
from mlflow import MlflowClient
from nbclient import NotebookClient

from tests.project import ROOT, Project, copy_project

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
COMPARE = ROOT / "docs" / "notebooks" / "compare_runs.ipynb"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    """Clear all outputs before a commit: they differ in every store, and contain paths."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not list(chain.from_iterable(cell.outputs for cell in code))
    assert {cell.execution_count for cell in code} == {None}
    assert not re.search(r"(?<![\w.:/])/\w+/", path.read_text(encoding="utf-8")), "a path of one machine"


@pytest.fixture(scope="module")
def compared(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The trained project with a champion, and a second run of half an epoch."""
    project = copy_project(trained, tmp_path_factory.mktemp("compared") / "project")
    mlflow.set_tracking_uri(project.tracking_uri)
    MlflowClient().set_registered_model_alias("sentiment", "champion", "1")
    project.set_params(train={"epochs": 0.5})
    project.run("dvc", "repro")
    return project


def evaluated(project: Project) -> tuple[str, dict[str, float], pd.Series]:
    """Return how the id of the project's run begins, its metrics, and its answers by review."""
    results = project.folder / "results"
    run_id = json.loads((results / "train/run.json").read_text())["run_id"]
    predictions = pd.read_csv(results / "evaluate/predictions.csv", dtype={"review_id": str})
    metrics: dict[str, float] = json.loads((results / "evaluate/metrics.json").read_text())
    return run_id[:6], metrics, predictions.set_index("review_id")["predicted"]


@pytest.mark.process
def test_the_notebook_compares_the_runs(
    trained: Project, compared: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(COMPARE, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, resources={"metadata": {"path": str(compared.folder)}}).execute()
    told = {cell.id: told_by(cell) for cell in notebook.cells if cell.cell_type == "code"}
    runs = [evaluated(project) for project in (trained, compared)]
    for run_id, metrics, _ in runs:
        assert run_id in told["models"]
        for part in ("", "test_"):
            value, low, high = (metrics[f"{part}accuracy{end}"] for end in ("", "_low", "_high"))
            assert f"{value:.3f} ({low:.3f} to {high:.3f})" in told["models"]
    assert "train.epochs" in told["params"]
    assert "train.seed" not in told["params"]
    assert "image/png" in told["accuracy"]
    assert "image/png" in told["learning"]
    points = 100 * abs(runs[0][1]["accuracy"] - runs[1][1]["accuracy"])
    assert f" {points:+.1f} points (" in told["pair"]
    different = (runs[0][2] != runs[1][2]).sum()
    assert different
    assert f"{different} of {len(runs[0][2])} reviews are answered differently" in told["disagreements"]
    assert "champion, version 1" in told["ask"]
    assert "challenger, version " in told["ask"]
    assert re.search(r"A triumph\. +(positive|negative) +0\.\d+", told["ask"])


def told_by(cell: nbformat.NotebookNode) -> str:
    """Return what the cell printed and displayed: text, and the media types of figures."""
    outputs = [[output.get("text", ""), *output.get("data", {}).items()] for output in cell.outputs]
    return "\n".join(map(str, chain.from_iterable(outputs)))
