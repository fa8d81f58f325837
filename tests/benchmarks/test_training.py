import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import TrainerCallback
from transformers.models.distilbert.modeling_distilbert import DistilBertSelfAttention

from benchmarks.serving.errors import BenchmarkError
from benchmarks.training import __main__ as benchmark
from benchmarks.training import table
from benchmarks.training.contenders import stock
from benchmarks.training.plot import seconds_had
from benchmarks.training.table import Rate, Step
from pipelines.core.params import load_params
from tests.project import ROOT


def steps(*moments: float) -> list[Step]:
    """A thousand tokens a step."""
    return [Step(time=moment, tokens=1000 * row, loss=None) for row, moment in enumerate(moments, 1)]


def test_a_rate_is_of_whole_steps_within_a_turn() -> None:
    """The step that a stop cuts in two, from 14 to 32, belongs to no turn."""
    turns = [(10.0, 20.0), (30.0, 40.0), (50.0, 60.0)]
    assert table.rates(steps(11, 12, 14, 32, 36, 40, 51), turns) == [
        Rate(2000, 3.0),
        Rate(2000, 8.0),
        Rate(0, 0.0),
    ]


def test_waiting_is_no_training() -> None:
    turns = [(10.0, 20.0), (30.0, 40.0)]
    assert [seconds_had(moment, turns) for moment in (10, 15, 25, 33, 99)] == [0, 5, 10, 13, 20]


def test_ratios_are_of_turns_that_both_had() -> None:
    right = np.array([True, True, False, True] * 50)
    worse = right & (np.arange(200) > 9)
    found = table.ratios([Rate(600, 2.0), Rate(0, 0.0)], [Rate(100, 1.0)] * 3, (right, worse), seed=1)
    assert (found.median, found.turns) == (3.0, 1)
    assert found.difference.value == pytest.approx((right.sum() - worse.sum()) / 200)
    assert found.difference.low < found.difference.value < found.difference.high
    with pytest.raises(BenchmarkError, match="give --seconds or --reviews more"):
        table.ratios([Rate(0, 0.0)], [Rate(1, 1.0)], (right, right), seed=1)


@pytest.fixture
def prepared(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 120 real reviews to learn and 60 to be asked, short ones."""
    with reviews.open(newline="") as file:
        header, *rows = csv.reader(file)
    (tmp_path / "results/prepare").mkdir(parents=True)
    for name, chosen in (("train", rows[:120]), ("validation", rows[120:180])):
        with (tmp_path / f"results/prepare/{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *chosen])
    params = (ROOT / "params.yaml").read_text()
    small = params.replace("max_tokens: 64", "max_tokens: 32").replace("batch_size: 32", "batch_size: 8")
    (tmp_path / "params.yaml").write_text(small)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_both_train_to_the_end_in_turns(prepared: Path) -> None:
    assert benchmark.main(["--seconds", "6"]) == 0
    output = prepared / "results/benchmarks/training"
    found = json.loads((output / "table.json").read_text())
    assert [one["name"] for one in found["contenders"]] == ["ours", "stock"]
    assert all(one["tokens_per_second"] > 0 for one in found["contenders"])
    assert found["ratio"]["turns"] >= 1
    assert "Ours to stock" in (output / "table.md").read_text()
    assert (output / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_what_fails_is_said_in_a_line(
    prepared: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert benchmark.main(["--reviews", "8"]) == 2
    assert "ours has too few reviews for its first steps" in capfd.readouterr().err
    (prepared / "results/prepare/train.csv").write_text("text\nA film.\n")
    assert benchmark.main([]) == 2
    assert "ours failed: KeyError: 'label'" in capfd.readouterr().err
    (prepared / "results/prepare/train.csv").unlink()
    assert benchmark.main([]) == 2
    assert "dvc repro prepare" in capfd.readouterr().err


def test_the_stock_way_has_dropout_in_attention_and_pads(prepared: Path) -> None:
    rows = pd.read_csv("results/prepare/train.csv", keep_default_na=False)
    trainer = stock(load_params(), rows, TrainerCallback(), prepared / "scratch")
    assert isinstance(trainer.model, torch.nn.Module)
    attentions = [part for part in trainer.model.modules() if isinstance(part, DistilBertSelfAttention)]
    assert len(attentions) == 7
    assert {part.dropout.p for part in attentions} == {0.1}
    assert all(weight.requires_grad for weight in trainer.model.parameters())
    inputs = next(iter(trainer.get_train_dataloader()))["input_ids"]
    assert inputs.shape == (8, 32)
