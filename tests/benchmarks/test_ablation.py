import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from benchmarks.ablation import __main__ as benchmark
from benchmarks.ablation import plot, table
from benchmarks.ablation.table import UNCHANGED, Answers
from tests.project import NO_BEHAVIOUR_LIMITS, ROOT, make_project


def answers(change: str, seed: int, right: str) -> Answers:
    """Reviews a, b, c ... of which those in `right` are labelled right, with 0.8 or, if wrong, 0.4."""
    reviews = list("abcdefghij")
    actual = ["positive" if row % 2 else "negative" for row in range(10)]
    sure = [0.8 if review in right else 0.4 for review in reviews]
    positive = [one if label == "positive" else 1 - one for label, one in zip(actual, sure, strict=True)]
    predicted = ["positive" if one >= 0.5 else "negative" for one in positive]
    columns = {"review_id": reviews, "actual": actual, "predicted": predicted, "probability": positive}
    return Answers(change, seed, f"run-{change}-{seed}", pd.DataFrame(columns))


@pytest.fixture
def found() -> list[Answers]:
    return [
        answers(UNCHANGED, 1, "abcdef"),
        answers("train.dropout=0", 1, "abcdefgh"),
        answers(UNCHANGED, 2, "abcde"),
        answers("train.dropout=0", 2, "bcdefg"),
    ]


def test_a_change_is_told_from_the_unchanged_run_of_its_seed(found: list[Answers]) -> None:
    unchanged, changed = table.rows(found)
    assert unchanged.change == UNCHANGED
    assert unchanged.accuracy == pytest.approx(0.55)
    assert changed.accuracy == pytest.approx(0.70)
    assert changed.gained.value == pytest.approx(0.15)
    assert changed.by_seed == {1: pytest.approx(0.2), 2: pytest.approx(0.1)}
    # Right is -ln 0.8, wrong -ln 0.4: each answer put right gains ln 2.
    assert changed.lost.value == pytest.approx(-0.15 * 0.693147, abs=1e-4)
    assert changed.gained.low < 0.15 < changed.gained.high


def test_a_seed_in_which_a_change_failed_does_not_count(found: list[Answers]) -> None:
    _, changed = table.rows(found[:3])
    assert changed.by_seed == {1: pytest.approx(0.2)}
    assert changed.gained.value == pytest.approx(0.2)


def test_a_review_asked_about_twice_is_no_more_evidence() -> None:
    """The same answers under two seeds: the interval of one."""
    once = [answers(UNCHANGED, 1, "abcdef"), answers("x=1", 1, "abcdefgh")]
    again = [answers(UNCHANGED, 2, "abcdef"), answers("x=1", 2, "abcdefgh")]
    assert table.rows(once + again)[1].gained == table.rows(once)[1].gained


def test_the_table_and_the_plot_say_all(found: list[Answers], tmp_path: Path) -> None:
    rows = table.rows(found)
    text = table.markdown(rows)
    assert "| unchanged | 0.5500 |" in text
    assert re.search(r"\| train.dropout=0 \| 0.7000 \| \+15.00 \(.+ to .+\) \| \+20.00, \+10.00 \|", text)
    assert table.as_json(found, rows)["runs"][1] == {  # type: ignore[index]
        "change": "train.dropout=0",
        "seed": 1,
        "run_id": "run-train.dropout=0-1",
    }
    plot.draw(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("words", "said"),
    [(["layer_decay"], "layer_decay is no NAME=VALUE"), (["a=1", "--seeds", "-1"], "at least 0")],
)
def test_what_is_no_change_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(words)
    assert said in capsys.readouterr().err


def test_every_change_is_an_experiment_and_a_run(reviews: Path, tmp_path: Path) -> None:
    """For real, on few short reviews: two changes, each without the other, and one that its stage refuses."""
    project = make_project(tmp_path, reviews, count=200)
    project.set_params(
        train={"epochs": 1, "max_tokens": 16},
        export={"precision": "fp32", "max_accuracy_loss": 1.0},
        evaluate=NO_BEHAVIOUR_LIMITS,
    )
    project.commit("short")
    changes = ["train.layer_decay=2", "train.learning_rate=0.001", "train.dropout=0.2"]
    done = project.run(sys.executable, "-m", "benchmarks.ablation", *changes, env={"PYTHONPATH": str(ROOT)})
    assert "ablation-42-train.layer_decay-2 failed: see " in done.stdout
    written = json.loads((tmp_path / "results/benchmarks/ablation/table.json").read_text())
    assert [one["change"] for one in written["runs"]] == [UNCHANGED, *changes[1:]]
    client = MlflowClient(project.tracking_uri)
    shown = project.run("dvc", "exp", "list", "--name-only").stdout.split()
    expected = [("0.00015", "0.1"), ("0.001", "0.1"), ("0.00015", "0.2")]
    for one, row, (rate, dropout) in zip(written["runs"], written["table"], expected, strict=True):
        run = client.get_run(one["run_id"])
        assert run.data.params["train.learning_rate"] == rate
        assert run.data.params["train.dropout"] == dropout
        assert run.data.metrics["accuracy"] == pytest.approx(row["accuracy"])
        assert run.data.tags["dvc_experiment"] in shown
