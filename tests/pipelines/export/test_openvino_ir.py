"""The temperature in the logits of a tiny classifier."""

from pathlib import Path

import numpy as np
import openvino
import pytest

from pipelines.export.openvino_ir import divide_logits
from pipelines.served_form.classifier import Classifier
from tests.bentos.model import REVIEWS, build_model

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("export") / "reference", seed=1)


def save(model: openvino.Model, exported: Path, folder: Path) -> Path:
    """Write the model with the tokenizer and the labels of `exported`."""
    folder.mkdir()
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    for name in ("tokenizer.json", "serving.json"):
        (folder / name).write_bytes((exported / name).read_bytes())
    return folder


def test_divided_logits_are_those_of_the_model_divided(exported: Path, tmp_path: Path) -> None:
    divided = save(divide_logits(exported, 2.5), exported, tmp_path / "divided")
    before = np.concatenate(Classifier(exported).logits(REVIEWS[:5]))
    after = np.concatenate(Classifier(divided).logits(REVIEWS[:5]))
    np.testing.assert_allclose(after, before / 2.5, rtol=1e-4, atol=1e-5)
