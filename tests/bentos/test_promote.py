"""`python -m bentos.sentiment.promote`: promotions, --status, arguments and exit codes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import free_port
from bentos.sentiment.promote import main
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import READY_SECONDS, ROOT, Registry, copy
from tests.bentos.registration import register

pytestmark = pytest.mark.usefixtures("settings")


def refused(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str], *says: str) -> None:
    assert main(arguments) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert all(line.startswith("promote: ") for line in output.err.splitlines()), output.err
    for words in says:
        assert words in output.err


def test_the_challenger_becomes_champion(two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--alias", "challenger"]) == 0
    assert two.aliases() == {"champion": "2", "previous": "1", "challenger": "2"}
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "alias       before               after",
        "champion    1 (accuracy 0.8000)  2 (accuracy 0.8500)",
        "previous    -                    1 (accuracy 0.8000)",
        "challenger  2 (accuracy 0.8500)  2 (accuracy 0.8500)",
    ]


def test_the_first_champion_has_no_previous(registry: Registry, serving: list[Path]) -> None:
    register(registry.client, serving[0])
    assert main(["--version", "1"]) == 0
    assert registry.aliases() == {"champion": "1"}


def test_promoting_the_champion_changes_nothing(two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--alias", "challenger"])
    before = two.aliases()
    capsys.readouterr()
    for arguments in (["--alias", "challenger"], ["--version", "2"], ["--version", "2", "--force"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out == "version 2 is already champion: nothing changed\n"
        assert two.aliases() == before


def test_a_less_accurate_version_needs_force(two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--alias", "challenger"])
    capsys.readouterr()
    refused(
        ["--alias", "previous"],
        5,
        capsys,
        "accuracy 0.8000, below accuracy 0.8500 of the champion",
        "--force",
    )
    assert two.aliases()["champion"] == "2"
    assert main(["--alias", "previous", "--force"]) == 0
    assert two.aliases() == {"champion": "1", "previous": "2", "challenger": "2"}


def test_the_same_accuracy_needs_no_force(two: Registry, serving: list[Path]) -> None:
    version = register(two.client, serving[2], "0.80")
    assert main(["--version", version]) == 0
    assert two.aliases()["champion"] == version


@pytest.mark.parametrize("accuracy", [None, "", "good", "nan", "1.5", "-0.1"])
def test_an_invalid_accuracy_is_refused_even_with_force(
    two: Registry, serving: list[Path], accuracy: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    version = register(two.client, serving[2], accuracy)
    for force in ([], ["--force"]):
        refused(["--version", version, *force], 6, capsys, "accuracy", "make repro")
    assert two.aliases()["champion"] == "1"


def test_a_version_that_the_bento_would_reject_is_refused(
    two: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    two.client.delete_model_version_tag("sentiment", "2", "weights_sha256")
    refused(["--version", "2"], 6, capsys, "no tag weights_sha256", "make repro")


def test_a_champion_without_accuracy_is_replaced_only_by_force(
    two: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    two.client.delete_model_version_tag("sentiment", "1", "accuracy")
    refused(["--version", "2"], 6, capsys, "no accuracy to compare with", "--force")
    assert main(["--version", "2", "--force"]) == 0
    assert two.aliases()["champion"] == "2"


@pytest.mark.parametrize("version", ["99", "two", "-1", "0"])
def test_an_unknown_version(two: Registry, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused([f"--version={version}"], 4, capsys, f"--version {version}", "1 to 2")


def test_an_unknown_alias(two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["--alias", "nobody"], 4, capsys, "--alias nobody", "--status")


def test_no_version_and_no_model(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["--alias", "challenger"], 4, capsys, "make repro")
    refused(["--version", "1"], 4, capsys, "make repro")
    registry.client.delete_registered_model("sentiment")
    for arguments in (["--alias", "challenger"], ["--status"]):
        refused(arguments, 4, capsys, "no model 'sentiment' is registered", "make repro")


def test_status_shows_and_changes_nothing(two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    before = two.aliases()
    assert main(["--status"]) == 0
    assert two.aliases() == before
    assert capsys.readouterr().out.splitlines() == [
        "alias       version",
        "champion    1 (accuracy 0.8000)",
        "previous    -",
        "challenger  2 (accuracy 0.8500)",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--force"],
        ["--status", "--version", "1"],
        ["--vers"],
        ["--rollback", "--force"],
        ["--status", "--reason", "none"],
        ["--history", "0"],
        ["--version", "1", "--reason", "x" * 501],
    ],
)
def test_invalid_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sqlite:///{folder}/nothing.db", "nothing.db does not exist"),
        ("http://someone:secret@127.0.0.1:{port}", "cannot use MLflow at http://127.0.0.1"),
        ("htp://127.0.0.1", "http://"),
        ("{folder}", "sqlite:///"),
    ],
)
def test_an_unreachable_registry(
    uri: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(folder=tmp_path, port=free_port()))
    refused(["--alias", "challenger"], 3, capsys, says)
    assert not (tmp_path / "nothing.db").exists()


def test_a_password_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{free_port()}")
    assert main(["--status"]) == 3
    assert "secret" not in capsys.readouterr().err


@pytest.mark.process
def test_the_process_exits_with_the_exit_code(two: Registry) -> None:
    command = [sys.executable, "-m", "bentos.sentiment.promote", "--version", "99"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=two.environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=READY_SECONDS,
    )
    assert ended.returncode == 4
    assert "--version 99" in ended.stderr


def test_help_lists_the_exit_codes(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    output = capsys.readouterr().out
    for code in range(2, 9):
        assert f"\n  {code}  " in output


def test_the_default_store_is_found_in_a_checkout_whose_path_has_percent_signs_and_question_marks(
    empty_database: Path, serving: list[Path], tmp_path: Path
) -> None:
    """`promote` reads the alias there, and the Bento fetches the champion's files."""
    checkout = tmp_path / "50%25 off? #1"
    shutil.copytree(ROOT / "bentos", checkout / "bentos")
    (checkout / "var").mkdir()
    registry = copy(empty_database, checkout / "var")
    version = registry.promote(serving[0])
    environment = {
        name: value for name, value in registry.environment.items() if name != "MLFLOW_TRACKING_URI"
    } | {"PYTHONPATH": str(checkout)}

    def run(*command: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=checkout,
            env=environment,
            timeout=READY_SECONDS,
            text=True,
            capture_output=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert f"champion    {version} (accuracy 0.8000)" in run("bentos.sentiment.promote", "--status")
    assert f"sentiment:{version}-" in run("bentos.sentiment.champion")
