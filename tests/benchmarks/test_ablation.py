import json
import os
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from benchmarks.ablation import __main__ as benchmark
from benchmarks.ablation import plot, table
from benchmarks.ablation.table import UNCHANGED, Run
from tests.project import NO_BEHAVIOUR_LIMITS, ROOT, environment, make_project


def make_run(change: str, seed: int, correct: str) -> Run:
    """Return a run on the reviews a to j. The actual label of those in `correct` has 0.8, of others 0.4."""
    reviews = list("abcdefghij")
    actual = ["positive" if row % 2 else "negative" for row in range(10)]
    of_actual = [0.8 if review in correct else 0.4 for review in reviews]
    positive = [p if label == "positive" else 1 - p for label, p in zip(actual, of_actual, strict=True)]
    predicted = ["positive" if p >= 0.5 else "negative" for p in positive]
    columns = {
        "review_id": reviews,
        "movie_id": "unknown",
        "actual": actual,
        "predicted": predicted,
        "probability": positive,
    }
    return Run(change, seed, f"run-{change}-{seed}", pd.DataFrame(columns))


@pytest.fixture
def runs() -> list[Run]:
    return [
        make_run(UNCHANGED, 1, "abcdef"),
        make_run("train.dropout=0", 1, "abcdefgh"),
        make_run(UNCHANGED, 2, "abcde"),
        make_run("train.dropout=0", 2, "bcdefg"),
    ]


def test_a_change_is_compared_with_the_unchanged_run_of_the_same_seed(runs: list[Run]) -> None:
    unchanged, changed = table.make_rows(runs)
    assert unchanged.change == UNCHANGED
    assert unchanged.accuracy == pytest.approx(0.55)
    assert changed.accuracy == pytest.approx(0.70)
    assert changed.accuracy_gain.value == pytest.approx(0.15)
    assert changed.gain_by_seed == {1: pytest.approx(0.2), 2: pytest.approx(0.1)}
    # The loss is -ln 0.8 if correct, else -ln 0.4: each correction reduces it by ln 2.
    assert changed.log_loss_difference.value == pytest.approx(-0.15 * 0.693147, abs=1e-4)
    assert changed.accuracy_gain.low < 0.15 < changed.accuracy_gain.high


def test_a_seed_with_which_a_change_failed_does_not_count(runs: list[Run]) -> None:
    _, changed = table.make_rows(runs[:3])
    assert changed.gain_by_seed == {1: pytest.approx(0.2)}
    assert changed.accuracy_gain.value == pytest.approx(0.2)


def test_the_same_review_in_two_seeds_does_not_narrow_the_interval() -> None:
    first = [make_run(UNCHANGED, 1, "abcdef"), make_run("x=1", 1, "abcdefgh")]
    second = [make_run(UNCHANGED, 2, "abcdef"), make_run("x=1", 2, "abcdefgh")]
    assert table.make_rows(first + second)[1].accuracy_gain == pytest.approx(
        table.make_rows(first)[1].accuracy_gain
    )


def test_the_table_and_the_plot_show_all_changes(runs: list[Run], tmp_path: Path) -> None:
    rows = table.make_rows(runs)
    text = table.markdown(rows)
    assert "| unchanged | 0.5500 |" in text
    assert re.search(r"\| train.dropout=0 \| 0.7000 \| \+15.00 \(.+ to .+\) \| \+20.00, \+10.00 \|", text)
    assert table.as_json(runs, rows)["runs"][1] == {  # type: ignore[index]
        "change": "train.dropout=0",
        "seed": 1,
        "run_id": "run-train.dropout=0-1",
    }
    plot.draw(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["layer_decay"], "layer_decay is not of the form NAME=VALUE"),
        (["a=1", "--seeds", "-1"], "at least 0"),
    ],
)
def test_invalid_arguments_are_rejected(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.process
def test_every_change_is_an_experiment_and_a_run(
    tmp_path: Path, reviews: Path, tiny_encoder: Path, empty_store: Path
) -> None:
    """Two changes, each without the other, and one that the stage rejects."""
    project = make_project(tmp_path, reviews, count=200)
    project.set_params(
        train={"base": str(tiny_encoder), "epochs": 1, "max_tokens": 16},
        export={"precision": "fp32", "max_accuracy_loss": 1.0},
        evaluate=NO_BEHAVIOUR_LIMITS,
    )
    project.run("dvc", "repro", "--quiet", "pretrain")  # into DVC's cache, so that no experiment runs it
    project.commit("a short training")
    (tmp_path / "var").mkdir(exist_ok=True)
    shutil.copy(empty_store, tmp_path / "var" / "mlflow.db")
    changes = ["train.layer_decay=2", "train.learning_rate=0.001", "train.dropout=0.2"]
    path = os.pathsep.join([str(ROOT), environment({})["PYTHONPATH"]])
    done = project.run(sys.executable, "-m", "benchmarks.ablation", *changes, env={"PYTHONPATH": path})
    assert "ablation-42-train.layer_decay-2 failed: see " in done.stdout
    written = json.loads((tmp_path / "results/benchmarks/ablation/table.json").read_text())
    assert [one["change"] for one in written["runs"]] == [UNCHANGED, *changes[1:]]
    client = MlflowClient(project.tracking_uri)
    experiments = project.run("dvc", "exp", "list", "--name-only").stdout.split()
    expected = [("0.00015", "0.1"), ("0.001", "0.1"), ("0.00015", "0.2")]
    for one, row, (rate, dropout) in zip(written["runs"], written["table"], expected, strict=True):
        run = client.get_run(one["run_id"])
        assert run.data.params["train.learning_rate"] == rate
        assert run.data.params["train.dropout"] == dropout
        assert run.data.metrics["accuracy"] == pytest.approx(row["accuracy"])
        assert run.data.tags["dvc_experiment"] in experiments
