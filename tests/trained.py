"""Fixtures that take seconds to make: reviews, a trained project, a tiny encoder, an empty MLflow store.

Each is made by the first pytest-xdist worker that needs it, and shared with the others. Modules that import
PyTorch or MLflow are imported inside the fixtures, since every pytest process imports this file.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.project import NO_BEHAVIOUR_LIMITS, Project, copy_project, make_project

WORKER = "PYTEST_XDIST_WORKER"


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` fills once per test run; all workers share it and must not write to it."""
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
    """The reviews.csv that `ingest` makes of the pinned wheel."""
    from pipelines.ingest.sieve import Sieve, write
    from pipelines.ingest.sources import rotten_tomatoes

    def make(folder: Path) -> None:
        write(Sieve(folder / "quarantine.csv").sift(rotten_tomatoes()), folder / "data")

    return make_once(tmp_path_factory, "ingested", make) / "data" / "reviews.csv"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Project:
    """A project whose stages have run once, with the packaged encoder, on 1,000 reviews for one epoch.

    Each pytest-xdist worker gets a copy, since the tests of deployment promote the model and serve it.
    """

    def make(folder: Path) -> None:
        (folder / "project").mkdir()
        project = make_project(folder / "project", reviews, count=1000)
        project.set_params(train={"epochs": 1, "max_tokens": 32})
        # With 200 validation reviews, two wrong answers already exceed the default limit of 0.01.
        project.set_params(export={"max_accuracy_loss": 0.05})
        project.set_params(evaluate=NO_BEHAVIOUR_LIMITS)
        project.commit("a short training")
        project.run("dvc", "repro")

    original = Project(make_once(tmp_path_factory, "trained", make) / "project")
    if WORKER not in os.environ:
        return original
    return copy_project(original, tmp_path_factory.mktemp("trained") / "project")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT for `train.base`: two layers of width 32, random weights and MiniLM's tokenizer."""

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

    return make_once(tmp_path_factory, "tiny-encoder", make)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables, to be copied, because MLflow takes seconds to create them."""

    def make(folder: Path) -> None:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return make_once(tmp_path_factory, "empty-store", make) / "mlflow.db"
