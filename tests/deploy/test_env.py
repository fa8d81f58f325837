import subprocess
import sys
from pathlib import Path

import pytest

from api.credentials import id_of
from deploy import env


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_missing_secrets_are_made_and_those_that_are_there_stay(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env.example").write_text("A=1\nPOSTGRES_PASSWORD=mine\nAPI_KEY=\n")
    env.main()
    first = (folder / ".env").read_text()
    found = values(first)
    assert (found["A"], found["POSTGRES_PASSWORD"]) == ("1", "mine")
    assert id_of(found["API_KEY"]), "a key that the API takes"
    assert found["REVIEWS_DATABASE_PASSWORD"] != found["MLFLOW_DATABASE_PASSWORD"]
    assert len(found["REVIEWS_DATABASE_PASSWORD"]) == 32
    said = capsys.readouterr().out
    assert "API_KEY" in said
    assert found["API_KEY"] not in said
    env.main()
    assert (folder / ".env").read_text() == first


def test_it_needs_nothing_that_is_installed(folder: Path) -> None:
    """Whoever runs the containers may have a bare Python."""
    (folder / ".env.example").write_text("")
    words = [sys.executable, "-I", "-S", str(Path(env.__file__))]
    assert (
        "made POSTGRES_PASSWORD" in subprocess.run(words, capture_output=True, text=True, check=True).stdout
    )


def test_outside_the_project_it_says_so() -> None:
    with pytest.raises(SystemExit, match="run this in the project's folder"):
        env.main()


def test_a_missing_name_is_added_and_others_are_not_touched() -> None:
    assert env.with_value("A=1\nX_KEY=\n", "KEY", "v") == "A=1\nX_KEY=\nKEY=v\n"
    assert env.with_value("KEY= \nB=2\n", "KEY", "v") == "KEY=v\nB=2\n"
    assert env.with_value("", "KEY", "v") == "KEY=v\n"
