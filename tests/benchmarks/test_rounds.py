"""Rounds of the serving benchmark with stub servers as contenders and the real wrk."""

import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.command import BenchmarkError
from benchmarks.serving import __main__ as benchmark
from benchmarks.serving.contenders import CONTENDERS, Contender, Launch
from benchmarks.serving.measure import Plan, texts_needed
from benchmarks.serving.rounds import run_all
from benchmarks.serving.setup import Setup
from tests.benchmarks.test_load import STUB_SERVER, needs_wrk


def stub(name: str, label: str, *command: str) -> Contender:
    def launch(setup: Setup, port: int) -> Launch:
        return Launch([list(command) or [sys.executable, str(STUB_SERVER), str(port), label]], {})

    return Contender(name, name, "/", launch)


@needs_wrk
@pytest.mark.process
def test_a_contender_that_fails_is_omitted_and_the_others_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = stub("crashing", "", sys.executable, "-c", "raise SystemExit('the model is missing')")
    for contender in (crashing, stub("wrong", "negative"), stub("right", "positive")):
        monkeypatch.setitem(CONTENDERS, contender.name, contender)
    monkeypatch.setattr("benchmarks.serving.rounds.TITLES", {name: name for name in CONTENDERS})
    probes = [f"a fine film {number}" for number in range(4)]
    texts = {"snippets": [f"text {number}" for number in range(texts_needed("snippets", [1, 4], 1, 0))]}
    plan = Plan([1, 4], 1, 0, probes, ["positive"] * 4, texts)
    setup = Setup(tmp_path / "model", tmp_path / "export", tmp_path / "peers", tmp_path, 256)
    record = run_all(["crashing", "wrong", "right"], setup, plan, rounds=2, logs=tmp_path)
    assert "the model is missing" in record.failures["crashing"]
    assert "another model: 0 of 4" in record.failures["wrong"]
    assert [(one.contender, one.clients, one.round) for one in record.measurements] == [
        *(("right", 1, 1), ("right", 4, 1), ("right", 1, 2), ("right", 4, 2)),
    ]
    assert all(one.load.successful and not one.load.errors for one in record.measurements)
    assert all(one.peak_mebibytes > 1 for one in record.measurements)
    assert not [child for child in psutil.Process().children() if str(STUB_SERVER) in child.cmdline()]


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that refer to files in a folder, which has only the texts."""
    monkeypatch.setattr(benchmark, "find_wrk", lambda: "wrk")
    (tmp_path / "validation").write_text("movie_id,text\na,A fine film.\n")
    return [f"--{name}={tmp_path / name}" for name in ("validation", "model", "export", "output", "peers")]


def test_a_missing_model_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(BenchmarkError, match="make repro promote"):
        benchmark.main(arguments)


def test_missing_peers_are_an_error(arguments: list[str], tmp_path: Path) -> None:
    for file in ("model/config.json", "export/model.xml"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    with pytest.raises(BenchmarkError, match="make peers"):
        benchmark.main(arguments)
    assert not (tmp_path / "output").exists(), "nothing is written"


def test_an_unknown_contender_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="unknown contender triton"):
        benchmark.main(["--contenders", "ours-api,triton"])


@pytest.mark.parametrize("words", [["--clients", "0"], ["--clients", "x"], ["--texts", "tweets"]])
def test_invalid_options_are_rejected(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.parse(words)
