"""Real reviews, one real pipeline run on a slice of them, and small parts for tests that need no training.

What takes seconds is made once, by the first pytest-xdist worker that asks for it. Modules that import
PyTorch or MLflow are imported where they are used, since every pytest process imports this file.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.project import NO_MANNERS, Project, copy_project, make_project

WORKER = "PYTEST_XDIST_WORKER"


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of this test run, filled by `make` once and shared, read-only, by all workers."""
    base = factory.getbasetemp()
    folder = (base.parent if WORKER in os.environ else base) / name
    complete = folder / ".complete"
    with FileLock(folder.with_suffix(".lock")):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by a worker that failed
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """reviews.csv as ingested from the pinned wheel."""
    from pipelines.ingest.sieve import Sieve, write
    from pipelines.ingest.sources import rotten_tomatoes

    def make(folder: Path) -> None:
        write(Sieve(folder / "quarantine.csv").sift(rotten_tomatoes()), folder / "data")

    return once(tmp_path_factory, "ingested", make) / "data" / "reviews.csv"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Project:
    """A project whose stages have run once, with the packaged encoder, on 1,000 reviews for one epoch.

    With pytest-xdist, a copy for each worker: the tests of deployment promote and serve what is in it.
    """

    def make(folder: Path) -> None:
        from tests.pipelines.processes import STAGES, run_stage

        (folder / "project").mkdir()
        project = make_project(folder / "project", reviews, count=1000)
        project.set_params(train={"epochs": 1, "max_tokens": 32})
        # Of 200 validation reviews, two are a hundredth.
        project.set_params(export={"max_accuracy_loss": 0.05})
        project.set_params(evaluate=NO_MANNERS)
        project.commit("a short training")
        for stage in STAGES:
            run_stage(project.folder, stage)
        project.run("dvc", "commit", "--force")

    made = Project(once(tmp_path_factory, "trained", make) / "project")
    if WORKER not in os.environ:
        return made
    return copy_project(made, tmp_path_factory.mktemp("trained") / "project")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT for `train.base`: two layers, 32 wide, random weights, MiniLM's tokenizer."""

    def make(folder: Path) -> None:
        import torch
        from transformers import DistilBertConfig, DistilBertForMaskedLM

        from pipelines.modeling.encoders import load_minilm

        tokenizer = load_minilm(dropout=0.0)[1]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = DistilBertConfig(n_layers=2, dim=32, hidden_dim=64, n_heads=2)
            DistilBertForMaskedLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return once(tmp_path_factory, "tiny-encoder", make)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables, to be copied: MLflow takes seconds to make one."""

    def make(folder: Path) -> None:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return once(tmp_path_factory, "empty-store", make) / "mlflow.db"
