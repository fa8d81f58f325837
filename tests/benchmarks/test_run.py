"""Whole rounds with stubs in the place of the contenders: no model, no peer, the real wrk."""

import shutil
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.serving import __main__ as command
from benchmarks.serving.catalogue import CONTENDERS, Contender, Start
from benchmarks.serving.measure import Plan, wanted
from benchmarks.serving.place import Place
from benchmarks.serving.run import run
from tests.benchmarks.test_load import STUB

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="apt-get install wrk")


def stub(name: str, label: str, *words: str) -> Contender:
    def start(place: Place, port: int) -> Start:
        return Start([list(words) or [sys.executable, str(STUB), str(port), label]], {})

    return Contender(name, name, "/", start)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Place(tmp_path / "model", tmp_path / "export", tmp_path / "peers", scratch, 256)


@needs_wrk
def test_a_contender_that_fails_does_not_end_the_run(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = stub("dead", "", sys.executable, "-c", "raise SystemExit('the model is gone')")
    for contender in (dead, stub("liar", "negative"), stub("good", "positive")):
        monkeypatch.setitem(CONTENDERS, contender.name, contender)
    monkeypatch.setattr("benchmarks.serving.run.TITLES", {name: name for name in CONTENDERS})
    probes = [f"a fine film {number}" for number in range(4)]
    texts = {"snippets": [f"text {number}" for number in range(wanted("snippets", [1, 4], 1, 0))]}
    plan = Plan([1, 4], 1, 0, probes, ["positive"] * 4, texts)
    record = run(["dead", "liar", "good"], place, plan, rounds=2, logs=tmp_path)
    assert "the model is gone" in record.failures["dead"]
    assert "another model: 0 of 4" in record.failures["liar"]
    assert [(point.contender, point.clients, point.round) for point in record.points] == [
        *(("good", 1, 1), ("good", 4, 1), ("good", 1, 2), ("good", 4, 2)),
    ]
    assert all(point.load.answers and not point.load.errors for point in record.points)
    assert all(point.peak_mebibytes > 1 for point in record.points)
    assert not [child for child in psutil.Process().children() if str(STUB) in child.cmdline()]


def test_a_missing_model_says_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_wrk", lambda: "wrk")
    monkeypatch.setattr(command, "end_on_terminate", lambda: None)
    (tmp_path / "validation.csv").write_text("movie_id,text\na,A fine film.\n")
    paths = [f"--{name}={tmp_path / name}" for name in ("model", "export", "output")]
    assert command.main([*paths, f"--validation={tmp_path / 'validation.csv'}"]) == 2
    assert "make repro promote" in capsys.readouterr().err


def test_missing_peers_say_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_wrk", lambda: "wrk")
    monkeypatch.setattr(command, "end_on_terminate", lambda: None)
    for file in ("model/config.json", "export/model.xml", "validation.csv"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("movie_id,text\na,A fine film.\n")
    names = ("model", "export", "output", "peers")
    paths = [f"--{name}={tmp_path / name}" for name in names]
    assert command.main([*paths, f"--validation={tmp_path / 'validation.csv'}"]) == 2
    assert "make peers" in capsys.readouterr().err
    assert not (tmp_path / "output").exists(), "nothing is written"


def test_an_unknown_contender(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "end_on_terminate", lambda: None)
    assert command.main(["--contenders", "ours-api,triton"]) == 2
    assert "no contender triton" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--clients", "0"], ["--clients", "x"], ["--texts", "tweets"]])
def test_bad_options(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(words)
