import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines.evaluate.measurement import measure
from pipelines.register.candidates import ORDER
from tests.project import ROOT


def test_only_evaluate_reads_the_test_reviews_and_they_rank_nothing() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert [name for name, stage in stages.items() if "results/prepare/test.csv" in stage["deps"]] == [
        "evaluate"
    ]
    assert not any(metric.startswith("test_") for metric in ORDER)


def test_reviews_of_one_movie_make_a_wider_interval_than_reviews_of_many() -> None:
    """The model is right about half of the movies only."""
    label = np.tile([0, 1], 200)
    known = np.repeat(np.arange(20) % 2 == 0, 20)
    positive = np.where(known, label, 1 - label) * 0.8 + 0.1
    together = pd.DataFrame({"label": label, "movie_id": np.repeat(np.arange(20), 20).astype(str)})
    alone = together.assign(movie_id="unknown")
    wide, narrow = (measure(reviews, positive, seed=1).accuracy for reviews in (together, alone))
    assert wide.value == narrow.value == pytest.approx(0.5)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_the_metrics_of_the_test_part_have_names_of_their_own() -> None:
    reviews = pd.DataFrame({"label": [0, 1, 0, 1], "movie_id": list("aabb")})
    found = measure(reviews, np.array([0.1, 0.9, 0.8, 0.7]), seed=1)
    assert found.movies == 2
    assert found.metrics("test_")["test_accuracy"] == found.metrics()["accuracy"] == 0.75
    assert not found.metrics().keys() & found.metrics("test_").keys()
