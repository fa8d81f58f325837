"""Validation of sweep.yaml."""

from pathlib import Path

import pytest
import yaml

from pipelines.core.errors import PipelineError
from pipelines.core.params import load_params
from pipelines.sweep.sweep_file import baseline, distributions, load_sweep, override
from tests.project import ROOT

PARAMS = load_params(ROOT / "params.yaml")


def test_the_sweep_of_this_project_starts_from_its_params() -> None:
    sweep = load_sweep(PARAMS, ROOT / "sweep.yaml")
    first = baseline(sweep, PARAMS)
    assert first["train.learning_rate"] == PARAMS.train.learning_rate
    assert distributions(sweep).keys() == first.keys()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.dropuot": {"low": 0, "high": 0.5}}, "train.dropuot cannot be part"),
        ({"train.seed": [1, 2]}, "train.seed cannot be part of a sweep"),
        ({"train.dropout": {"low": 0, "high": 1.5}}, "train.dropout: 1.5: Input should be less than 1"),
        ({"train.dropout": {"low": 0.5, "high": 0.1}}, "low 0.5 must be below high 0.1"),
        ({"train.dropout": {"low": 0, "high": 0.5, "log": True}}, "must be above 0 if log is true"),
        ({"train.learning_rate": {"low": 0.1, "high": 0.2}}, "must include 0.00"),
        ({"train.freeze_embeddings": []}, "train.freeze_embeddings is empty"),
        ({}, "space"),
    ],
)
def test_an_invalid_space_is_an_error_that_names_the_field(
    tmp_path: Path, space: dict[str, object], message: str
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"trials": 2, "startup": 1, "space": space}))
    with pytest.raises(PipelineError, match=message):
        load_sweep(PARAMS, path)


def test_an_override_has_full_precision() -> None:
    value = 0.1 + 0.2
    assert override("train.dropout", value) == "train.dropout=0.30000000000000004"
    assert override("train.freeze_embeddings", True) == "train.freeze_embeddings=true"
