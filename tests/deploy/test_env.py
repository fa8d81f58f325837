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


def test_missing_secrets_are_generated_and_existing_ones_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env.example").write_text("A=1\nPOSTGRES_PASSWORD=existing\nAPI_KEY=\n")
    env.main()
    first = (folder / ".env").read_text()
    found = values(first)
    assert (found["A"], found["POSTGRES_PASSWORD"]) == ("1", "existing")
    assert id_of(found["API_KEY"]), "a valid key of the API"
    assert found["REVIEWS_DATABASE_PASSWORD"] != found["MLFLOW_DATABASE_PASSWORD"]
    assert len(found["REVIEWS_DATABASE_PASSWORD"]) == 32
    output = capsys.readouterr().out
    assert "API_KEY" in output
    assert found["API_KEY"] not in output
    env.main()
    assert (folder / ".env").read_text() == first


@pytest.mark.process
def test_it_needs_only_the_standard_library(folder: Path) -> None:
    """A machine that runs the containers may have nothing else installed."""
    (folder / ".env.example").write_text("")
    words = [sys.executable, "-I", "-S", str(Path(env.__file__))]
    assert (
        "generated POSTGRES_PASSWORD"
        in subprocess.run(words, capture_output=True, text=True, check=True).stdout
    )


def test_a_checkout_that_containers_cannot_read_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env.example").touch()
    mounted = folder / env.MOUNTED
    mounted.parent.mkdir(parents=True)
    mounted.touch()
    for mode, reported in ((0o640, True), (0o644, False)):
        mounted.chmod(mode)
        env.main()
        assert ("clone it again after `umask 022`" in capsys.readouterr().out) is reported


def test_outside_the_project_folder_it_fails() -> None:
    with pytest.raises(SystemExit, match="run this in the project folder"):
        env.main()


def test_only_the_named_variable_is_set() -> None:
    assert env.with_value("A=1\nX_KEY=\n", "KEY", "v") == "A=1\nX_KEY=\nKEY=v\n"
    assert env.with_value("KEY= \nB=2\n", "KEY", "v") == "KEY=v\nB=2\n"
    assert env.with_value("", "KEY", "v") == "KEY=v\n"
