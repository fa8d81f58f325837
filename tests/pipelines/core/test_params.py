from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.core.errors import PipelineError
from pipelines.core.params import load_params
from tests.project import ROOT

PARAMS = ROOT / "params.yaml"


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = PARAMS.read_text()
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new))
    return path


def test_the_params_of_this_project_are_valid_and_frozen() -> None:
    params = load_params(PARAMS)
    with pytest.raises(ValidationError, match="frozen"):
        params.train.epochs = 9.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_size: 32", "batch_size: 0", r"train\.batch_size: Input should be greater than or equal to 1"),
        (
            "truncation: head ",
            "truncation: tail ",
            r"train\.truncation: Input should be 'head' or 'head_tail'",
        ),
        ("dropout:", "drop_out:", r"train\.dropout: Field required; train\.drop_out: Extra inputs"),
        ("seed: 42", "seed: [", "is not YAML"),
    ],
)
def test_an_invalid_value_is_an_error_with_its_limits(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        load_params(changed(tmp_path, old, new))


def test_a_missing_file_is_an_error_that_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="project's folder"):
        load_params(tmp_path / "params.yaml")
