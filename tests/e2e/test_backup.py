"""A backup of the running stack, restored into an empty stack in another folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.backup.__main__ import main
from tests.deploy.stack import SETTINGS, Stack, stack_folder, wait_for
from tests.e2e.conftest import connect
from tests.e2e.runbook import blocks, run
from tests.project import Project

MOVIE = "backed-up"
TEXT = "Warm, funny and brave."
BACKUP = "deploy.backup"


def reviews(client: httpx.Client) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(f"/api/reviews/{MOVIE}").raise_for_status().json()["items"]
    return items


@pytest.fixture(scope="module")
def backup(stack: Stack) -> Path:
    """A backup made while the stack serves; every review has its sentiment."""
    with connect(stack) as client:
        for number in range(5):
            review = {"movie_id": MOVIE, "author": "Ada \N{SNOWMAN}", "text": f"{TEXT}\n\t{number}\\."}
            client.post("/api/reviews", json=review).raise_for_status()
        wait_for(lambda: all(review["sentiment"] for review in reviews(client)))
    stack.run("dump", module=BACKUP)
    (folder,) = (stack.root / "backups").iterdir()
    return folder


@pytest.fixture(scope="module")
def empty(served: Project) -> Iterator[Stack]:
    """The same code in another folder with its own ports, passwords and key; never started."""
    ignored = shutil.ignore_patterns("var", ".env", ".dvc", "results", "backups", ".git")
    with stack_folder() as folder:
        shutil.copytree(served.folder, folder, ignore=ignored, dirs_exist_ok=True)
        stack = Stack(folder)
        yield stack
        stack.destroy()


def test_a_backup_is_restored_into_an_empty_stack(stack: Stack, backup: Path, empty: Stack) -> None:
    assert "complete, " in stack.run("verify", str(backup), module=BACKUP)
    output = empty.run("restore", str(backup), module=BACKUP)
    assert "champion 1; start the stack: make up" in output
    # The API and PostgreSQL are enough here; the next test starts the whole restored stack.
    empty.run("up", "postgres", "api")
    with connect(stack) as old, connect(empty) as new:
        assert reviews(new) == reviews(old)
        assert len(reviews(new)) >= 5
        # Clients keep their keys.
        new.headers["Authorization"] = old.headers["Authorization"]
        assert new.delete(f"/api/reviews/{reviews(new)[0]['id']}").status_code == 204
        written = new.post("/api/reviews", json={"movie_id": MOVIE, "author": "Ada", "text": TEXT}).json()
        assert reviews(new)[0]["id"] == written["id"]
    refused = empty.run("restore", str(backup), module=BACKUP, code=1)
    assert "is not empty (" in refused
    assert "rows in review" in refused
    assert "make down; mv" in refused
    with connect(empty) as new:
        assert reviews(new), "a refused restore changes nothing and stops nothing"


def test_the_restore_of_the_runbook_replaces_a_stack_with_wrong_data(
    stack: Stack, backup: Path, empty: Stack
) -> None:
    """Runs after the test above, which deleted one review and wrote another."""
    with connect(stack) as old, connect(empty) as new:
        assert reviews(new) != reviews(old)
        run(empty, *blocks("Restore"), BACKUP=str(backup))
        assert reviews(new) == reviews(old)
        asked = {"text": "A sentence that no review contains."}
        wait_for(lambda: new.post("/api/analyze", json=asked).status_code == 200)
        answers = [client.post("/api/analyze", json=asked).json() for client in (old, new)]
        assert answers[0] == answers[1]
        assert answers[0]["model_version"] == "1"
        new.headers["Authorization"] = old.headers["Authorization"]
        written = new.post("/api/reviews", json={"movie_id": MOVIE, "author": "Ada", "text": TEXT}).json()
        wait_for(lambda: reviews(new)[0]["sentiment"] is not None)
        assert reviews(new)[0]["id"] == written["id"]


def test_down_stops_the_whole_stack_and_up_serves_the_same_reviews(
    stack: Stack, backup: Path, empty: Stack
) -> None:
    """Uses the restored stack, which is not needed any more: the Bento and MLflow need not start again."""
    assert {"api", "bento", "mlflow", "postgres", "worker"} <= running(empty)
    with connect(empty) as new:
        before = reviews(new)
    assert len(before) >= 5
    empty.run("down")
    assert empty.processes() == []
    empty.run("up", "postgres", "api")
    with connect(empty) as new:
        assert reviews(new) == before
    assert (empty.var / "log" / "api.log").stat().st_size > 0


def running(stack: Stack) -> set[str]:
    return {name for name, program in stack.supervisor.programs().items() if program.pid}


@pytest.fixture
def in_stack_folder(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `main` run in this process, which is much faster than a process per command."""
    monkeypatch.chdir(stack.root)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("in_stack_folder")
@pytest.mark.parametrize("name", ["reviews.dump", "mlflow.db", "artifacts.tar", "manifest.json"])
def test_a_damaged_backup_is_refused_before_anything_changes(
    backup: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damaged = shutil.copytree(backup, tmp_path / "backup")
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[:-200] + b"?" * 200)
    assert main(["restore", str(damaged)]) == 1
    assert str(damaged / name) in capsys.readouterr().err
    (damaged / name).unlink()
    assert main(["verify", str(damaged)]) == 1
    assert name in capsys.readouterr().err


@pytest.mark.usefixtures("in_stack_folder")
def test_missing_weights_prevent_a_backup(
    stack: Stack, backup: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set((stack.root / "backups").iterdir())
    weights = dict(enumerate((stack.var / "mlartifacts").rglob("serving/model.bin")))
    assert weights
    for number, path in weights.items():
        # Out of the artifact folder: a backup identifies weights by their hash, whatever the file name.
        shutil.move(path, tmp_path / str(number))
        path.write_bytes(b"other")
    try:
        assert main(["dump"]) == 1
    finally:
        for number, path in weights.items():
            shutil.move(tmp_path / str(number), path)
    assert "the weights of version 1 of 'sentiment'" in capsys.readouterr().err
    assert set((stack.root / "backups").iterdir()) == before, "neither a complete nor a partial backup"
