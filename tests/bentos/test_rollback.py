"""Rollback and the promotion history, on a real MLflow store."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import free_port
from bentos.sentiment.promote import main
from bentos.sentiment.promotion import history
from tests.bentos.conftest import READY_SECONDS, ROOT, MlflowServer, Registry
from tests.bentos.registration import register

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("settings")]


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    code = main([*arguments, "--json"])
    output = capsys.readouterr()
    assert output.err == ""
    answer: dict[str, Any] = json.loads(output.out)
    assert answer["exit_code"] == code
    return answer


def test_rollback_swaps_champion_and_previous_and_again(
    two: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--version", "2"]) == 0
    answer = run_json(capsys, "--rollback", "--reason", "it answers\nnonsense")
    assert (answer["outcome"], answer["from"], answer["to"]) == ("rolled_back", "2", "1")
    assert two.aliases() == {"champion": "1", "previous": "2", "challenger": "2"}
    tags = two.client.get_model_version("sentiment", "1").tags
    assert (tags["promotion_reason"], tags["promoted_by"]) == ("it answers nonsense", history.who())
    assert main(["--rollback"]) == 0
    assert two.aliases()["champion"] == "2"
    assert capsys.readouterr().out.splitlines()[1] == ("champion    1 (accuracy 0.8000)  2 (accuracy 0.8500)")


def test_rollback_needs_neither_files_nor_the_engine(
    two: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a new process: --rollback, --status and --history import no training library and no OpenVINO."""
    assert main(["--version", "2"]) == 0
    (two.folder / "artifacts").rename(two.folder / "gone")
    two.client.delete_model_version_tag("sentiment", "1", "accuracy")
    code = (
        "import sys\n"
        "from bentos.sentiment.promote import main\n"
        "assert [main([command]) for command in ('--rollback', '--status', '--history')] == [0, 0, 0]\n"
        "print([name for name in ('torch', 'transformers', 'openvino') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=two.environment,
        text=True,
        capture_output=True,
        check=True,
        timeout=READY_SECONDS,
    )
    assert ended.stdout.splitlines()[-1] == "[]"
    assert two.aliases()["champion"] == "1"


def test_an_impossible_rollback(two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_json(capsys, "--rollback")
    assert (answer["outcome"], answer["exit_code"]) == ("failed", 4)
    assert "no previous champion" in answer["errors"][0]
    two.client.set_registered_model_alias("sentiment", "previous", "1")
    assert "both champion and previous" in run_json(capsys, "--rollback")["errors"][0]
    two.client.set_registered_model_alias("sentiment", "previous", "2")
    two.client.delete_model_version_tag("sentiment", "2", "weights_sha256")
    assert run_json(capsys, "--rollback")["exit_code"] == 6
    assert two.aliases()["champion"] == "1"


def test_a_dry_run_of_a_rollback(two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version", "2"]) == 0
    before = two.aliases()
    answer = run_json(capsys, "--rollback", "--dry-run")
    assert (answer["outcome"], answer["to"]) == ("would_roll_back", "1")
    assert two.aliases() == before
    assert len(run_json(capsys, "--history")["history"]) == 1


def test_the_history_records_who_when_from_to_and_why(
    two: Registry, serving: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Read by another process after the local store has gone: the history is in the database alone."""
    started = datetime.now(UTC) - timedelta(seconds=1)
    worse = register(two.client, serving[2], "0.70")
    assert main(["--version", worse, "--reason", "hope"]) == 5
    assert main(["--alias", "challenger", "--reason", "two points better"]) == 0
    assert main(["--version", worse, "--force"]) == 0
    assert main(["--rollback", "--reason", "as expected"]) == 0
    for path in two.folder.glob("bentoml*"):
        path.rename(two.folder / "other")
    ended = subprocess.run(
        [sys.executable, "-m", "bentos.sentiment.promote", "--history", "--json"],
        cwd=ROOT,
        env=two.environment,
        text=True,
        capture_output=True,
        check=True,
        timeout=READY_SECONDS,
    )
    entries = json.loads(ended.stdout)["history"]
    recorded = [(one["outcome"], one["from"], one["to"], one["reason"], one["forced"]) for one in entries]
    assert recorded == [
        ("rolled_back", "3", "2", "as expected", []),
        ("promoted", "2", "3", "", ["accuracy"]),
        ("promoted", "1", "2", "two points better", []),
        ("refused", "1", "3", "hope", []),
    ]
    assert all(one["by"] == history.who() for one in entries)
    assert all(started < datetime.fromisoformat(one["at"]) <= datetime.now(UTC) for one in entries)
    [gate] = entries[-1]["gates"]
    assert (gate["gate"], gate["candidate"], gate["against"]) == ("accuracy", 0.7, 0.8)
    capsys.readouterr()
    assert main(["--history", "2"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["when", "who", "what", "from", "to", "gates", "why"]
    assert "as expected" in first
    assert "overridden: accuracy" in second


def test_the_history_is_bounded(
    two: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even the longest entry is far below MLflow's limits, and refusals displace no promotion."""
    monkeypatch.setattr(history, "KEPT", 3)
    monkeypatch.setattr(history, "KEPT_REFUSED", 2)
    assert main(["--version", "2", "--reason", "\N{GRINNING FACE}" * 500]) == 0
    for _ in range(4):
        assert main(["--rollback"]) == 0
    assert main(["--rollback"]) == 0
    two.client.delete_model_version_tag("sentiment", "2", "accuracy")
    for _ in range(4):
        assert main(["--version", "2"]) == 6
    entries = run_json(capsys, "--history", "100")["history"]
    assert [one["outcome"] for one in entries] == ["refused"] * 2 + ["rolled_back"] * 3
    assert [one["number"] for one in entries] == [10, 9, 6, 5, 4]


def test_an_empty_history(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--history"]) == 0
    assert capsys.readouterr().out == "nothing has been promoted or refused yet\n"


def test_json_in_every_case(
    two: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_json(capsys, "--status")
    assert status["aliases"]["challenger"] == {"version": "2", "accuracy": 0.85}
    assert run_json(capsys, "--version", "99")["exit_code"] == 4
    assert run_json(capsys, "--version", "1")["outcome"] == "unchanged"
    promoted = run_json(capsys, "--alias", "challenger", "--reason", "better")
    assert (promoted["outcome"], promoted["from"], promoted["to"]) == ("promoted", "1", "2")
    assert promoted["aliases"]["previous"]["version"] == "1"
    assert promoted["entry"] == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{free_port()}")
    unreachable = run_json(capsys, "--rollback")
    assert unreachable["exit_code"] == 3
    assert "secret" not in json.dumps(unreachable)


def test_promotion_rollback_and_history_through_a_server(
    mlflow_server: MlflowServer,
    serving: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    for folder, accuracy in zip(serving, ("0.80", "0.85", "0.70"), strict=True):
        register(mlflow_server.client, folder, accuracy)
    assert [main(["--version", number]) for number in "123"] == [0, 0, 5]
    assert main(["--rollback", "--reason", "through a server"]) == 0
    assert mlflow_server.aliases() == {"champion": "1", "previous": "2"}
    entries = run_json(capsys, "--history")["history"]
    assert [one["outcome"] for one in entries] == ["rolled_back", "refused", "promoted", "promoted"]
