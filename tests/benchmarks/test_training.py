import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import TrainerCallback
from transformers.models.distilbert.modeling_distilbert import DistilBertSelfAttention

from benchmarks.command import BenchmarkError
from benchmarks.training import __main__ as benchmark
from benchmarks.training import neighbours, table
from benchmarks.training.contenders import stock
from benchmarks.training.plot import running_seconds
from benchmarks.training.table import Rate, Step
from benchmarks.training.time_slices import TrainingProcess
from pipelines.core.params import load_params
from tests.project import ROOT


def steps(*times: float) -> list[Step]:
    """Return steps of a thousand tokens each."""
    return [Step(time=time, tokens=1000 * number, loss=None) for number, time in enumerate(times, 1)]


def test_a_rate_is_of_whole_steps_within_a_time_slice() -> None:
    """The step from 14 to 32 is interrupted by a pause and belongs to no slice."""
    slices = [(10.0, 20.0), (30.0, 40.0), (50.0, 60.0)]
    assert table.rates(steps(11, 12, 14, 32, 36, 40, 51), slices) == [
        Rate(2000, 3.0),
        Rate(2000, 8.0),
        Rate(0, 0.0),
    ]


def test_running_time_excludes_the_pauses() -> None:
    slices = [(10.0, 20.0), (30.0, 40.0)]
    assert [running_seconds(time, slices) for time in (10, 15, 25, 33, 99)] == [0, 5, 10, 13, 20]


def test_the_speedup_is_of_slices_that_both_had() -> None:
    correct = np.array([[True, True, False, True] * 50] * 2)
    worse = correct & (np.arange(200) > 9)
    movies = np.arange(200)
    found = table.compare([Rate(600, 2.0), Rate(0, 0.0)], [Rate(100, 1.0)] * 3, correct, worse, movies)
    assert (found.median, found.pairs) == (3.0, 1)
    difference = found.accuracy_difference
    assert difference.value == pytest.approx((correct.sum() - worse.sum()) / 400)
    assert difference.low < difference.value < difference.high
    with pytest.raises(BenchmarkError, match="increase --seconds or --reviews"):
        table.compare([Rate(0, 0.0)], [Rate(1, 1.0)], correct, correct, movies)


@pytest.fixture
def prepared(reviews: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with 120 training and 60 validation reviews, and a tiny encoder in params.yaml."""
    with reviews.open(newline="") as file:
        header, *rows = csv.reader(file)
    (tmp_path / "results/prepare").mkdir(parents=True)
    for name, chosen in (("train", rows[:120]), ("validation", rows[120:180])):
        with (tmp_path / f"results/prepare/{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *chosen])
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"] |= {"base": str(tiny_encoder), "max_tokens": 32, "batch_size": 8}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.mark.process
def test_both_train_to_the_end_in_time_slices(prepared: Path) -> None:
    benchmark.main(["--seconds", "1"])
    output = prepared / "results/benchmarks/training"
    found = json.loads((output / "table.json").read_text())
    assert [one["name"] for one in found["contenders"]] == ["stage", "stock"]
    assert all(one["tokens_per_second"] > 0 for one in found["contenders"])
    assert found["comparison"]["pairs"] >= 1
    assert "Speedup of the stage" in (output / "table.md").read_text()
    assert (output / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.process
def test_the_error_of_a_training_is_reported(prepared: Path) -> None:
    (prepared / "results/prepare/train.csv").write_text("text\nA film.\n")
    with pytest.raises(BenchmarkError, match=r"^stage failed: KeyError: 'label' \(see .*log\)$"):
        benchmark.main([])


@pytest.mark.process
def test_a_training_that_ends_during_its_warm_up_has_too_few_reviews(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    with pytest.raises(BenchmarkError, match="stage has too few reviews for its warm-up"):
        TrainingProcess("stage", tmp_path, process).wait_for_warm_up()


def test_missing_reviews_are_an_error(prepared: Path) -> None:
    (prepared / "results/prepare/train.csv").unlink()
    with pytest.raises(BenchmarkError, match="dvc repro prepare"):
        benchmark.main([])


def test_the_stock_example_has_attention_dropout_and_padding(prepared: Path) -> None:
    rows = pd.read_csv("results/prepare/train.csv", keep_default_na=False)
    trainer = stock(load_params(), rows, TrainerCallback(), prepared / "scratch")
    assert isinstance(trainer.model, torch.nn.Module)
    attentions = [part for part in trainer.model.modules() if isinstance(part, DistilBertSelfAttention)]
    assert [part.dropout.p for part in attentions] == [0.1, 0.1]
    assert all(weight.requires_grad for weight in trainer.model.parameters())
    inputs = next(iter(trainer.get_train_dataloader()))["input_ids"]
    assert inputs.shape == (8, 32)


@pytest.mark.process
def test_trainings_are_measured_beside_busy_processes(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = yaml.safe_load((prepared / "params.yaml").read_text())
    params["train"] |= {"epochs": 100}
    (prepared / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setattr(neighbours, "SETTLING_SECONDS", 0)
    neighbours.main(["--rounds", "1", "--seconds", "0.5"])
    output = prepared / "results/benchmarks/neighbours"
    found = json.loads((output / "table.json").read_text())["tokens_per_second"]
    assert found.keys() == neighbours.WAYS.keys()
    assert all(set(rates) == {"0", "1", "2"} for rates in found.values())
    assert "| always sleeping |" in (output / "table.md").read_text()
