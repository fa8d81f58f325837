"""A backup of the running stack, restored into an empty one in another folder, which then serves the same."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.stack import Stack, wait_for
from tests.e2e.conftest import connect
from tests.e2e.runbook import blocks, run
from tests.project import Project

MOVIE = "kept-for-ever"
TEXT = "Warm, funny and brave."
BACKUP = "deploy.backup"


def reviews(client: httpx.Client) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(f"/api/reviews/{MOVIE}").raise_for_status().json()["items"]
    return items


@pytest.fixture(scope="module")
def backup(stack: Stack) -> Path:
    """Made while the stack serves; every review has its sentiment."""
    with connect(stack) as client:
        for number in range(5):
            review = {"movie_id": MOVIE, "author": "Ada \N{SNOWMAN}", "text": f"{TEXT}\n\t{number}\\."}
            client.post("/api/reviews", json=review).raise_for_status()
        wait_for(lambda: all(review["sentiment"] for review in reviews(client)), seconds=60)
    stack.run("dump", module=BACKUP)
    (made,) = (stack.root / "backups").iterdir()
    return made


@pytest.fixture(scope="module")
def empty(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The same code in another folder, with ports, passwords and a key of its own, never started."""
    folder = tmp_path_factory.mktemp("another") / "project"
    shutil.copytree(
        trained.folder, folder, ignore=shutil.ignore_patterns("var", ".env", ".dvc", "results", "backups")
    )
    stack = Stack(folder)
    yield stack
    stack.destroy()


def test_a_restored_stack_serves_the_same_champion_and_the_same_reviews(
    stack: Stack, backup: Path, empty: Stack
) -> None:
    assert "whole, " in stack.run("verify", str(backup), module=BACKUP)
    said = empty.run("restore", str(backup), module=BACKUP)
    assert "champion 1; start it: make up" in said
    empty.run("up")
    with connect(stack) as old, connect(empty) as new:
        assert reviews(new) == reviews(old)
        assert len(reviews(new)) >= 5
        asked = {"text": "Something that no review says."}
        answers = [client.post("/api/analyze", json=asked).json() for client in (old, new)]
        assert answers[0] == answers[1]
        assert answers[0]["model_version"] == "1"
        # Clients go on with the keys that they have.
        new.headers["Authorization"] = old.headers["Authorization"]
        assert new.delete(f"/api/reviews/{reviews(new)[0]['id']}").status_code == 204
        written = new.post("/api/reviews", json={"movie_id": MOVIE, "author": "Ada", "text": TEXT}).json()
        wait_for(lambda: reviews(new)[0]["sentiment"] is not None, seconds=60)
        assert reviews(new)[0]["id"] == written["id"]
    refused = empty.run("restore", str(backup), module=BACKUP, code=1)
    assert "is not empty (" in refused
    assert "rows in review" in refused
    assert "make down; mv" in refused
    with connect(empty) as new:
        assert reviews(new), "a refused restore changes nothing and stops nothing"


def test_the_runbooks_restore_replaces_a_stack_that_went_wrong(
    stack: Stack, backup: Path, empty: Stack
) -> None:
    """After the test above, in which a review was deleted and another written."""
    with connect(stack) as old, connect(empty) as new:
        assert reviews(new) != reviews(old)
        run(empty, *blocks("Restore"), BACKUP=str(backup))
        assert reviews(new) == reviews(old)
        wait_for(lambda: new.post("/api/analyze", json={"text": TEXT}).status_code == 200)


@pytest.mark.parametrize("name", ["reviews.dump", "mlflow.db", "artifacts.tar", "manifest.json"])
def test_a_damaged_backup_is_refused_before_anything_is_touched(
    stack: Stack, backup: Path, tmp_path: Path, name: str
) -> None:
    damaged = shutil.copytree(backup, tmp_path / "backup")
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[:-200] + b"?" * 200)
    said = stack.run("restore", str(damaged), module=BACKUP, code=1)
    assert str(damaged / name) in said
    (damaged / name).unlink()
    assert name in stack.run("verify", str(damaged), module=BACKUP, code=1)


def test_a_backup_without_the_weights_of_a_version_is_none(
    stack: Stack, backup: Path, tmp_path: Path
) -> None:
    before = set((stack.root / "backups").iterdir())
    weights = dict(enumerate((stack.var / "mlartifacts").rglob("serving/model.bin")))
    assert weights
    for number, path in weights.items():
        shutil.move(path, tmp_path / str(number))  # out of the backup's reach: it knows weights by their hash
        path.write_bytes(b"other")
    try:
        said = stack.run("dump", module=BACKUP, code=1)
    finally:
        for number, path in weights.items():
            shutil.move(tmp_path / str(number), path)
    assert "the weights of version 1 of 'sentiment'" in said
    assert set((stack.root / "backups").iterdir()) == before, "neither whole nor in part"
