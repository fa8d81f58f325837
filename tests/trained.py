"""Real reviews, and one real pipeline run on a slice of them that many tests look at."""

from pathlib import Path

import pytest

from pipelines.ingest.sieve import Sieve, write
from pipelines.ingest.sources import rotten_tomatoes
from tests.project import NO_MANNERS, Project, make_project


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """reviews.csv as ingested from the pinned wheel."""
    folder = tmp_path_factory.mktemp("ingested") / "data"
    write(Sieve(folder.with_name("quarantine.csv")).sift(rotten_tomatoes()), folder)
    return folder / "reviews.csv"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Project:
    """A project in which `dvc repro` has run once, on 1,500 reviews for one epoch."""
    project = make_project(tmp_path_factory.mktemp("project"), reviews, count=1500)
    project.set_params(train={"epochs": 1, "max_tokens": 32})
    # Of 300 validation reviews three are a hundredth already.
    project.set_params(export={"max_accuracy_loss": 0.05})
    project.set_params(evaluate=NO_MANNERS)
    project.commit("a short training")
    project.run("dvc", "repro")
    return project
