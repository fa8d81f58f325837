"""The served form on a processor without VNNI, with a model whose sums do not fit in 16 bits."""

from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from pipelines.core.errors import PipelineError
from pipelines.evaluate import without_vnni
from pipelines.served_form.classifier import Classifier
from tests.pipelines.tiny_served_form import WORDS, write_served_form

FEATURES = 64

pytestmark = pytest.mark.process


@pytest.fixture
def int8_form(tmp_path: Path) -> Path:
    """A served form that multiplies the largest int8 numbers: exactly, "excellent" is positive."""
    folder = tmp_path / "serving"
    write_served_form(folder)
    ids, mask = (ops.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "attention_mask"))
    for parameter in (ids, mask):
        parameter.output(0).set_names({parameter.friendly_name})
    table = np.zeros((len(WORDS), FEATURES), np.float32)
    table[WORDS.index("excellent")] = 1
    features = ops.reduce_max(ops.gather(ops.constant(table), ids, ops.constant(0)), ops.constant(1))
    weights = np.stack([np.full(FEATURES, -1), np.full(FEATURES, 1)], axis=1).astype(np.float32)
    low, high = (ops.constant(np.float32(end)) for end in (0, 1))
    activations = ops.fake_quantize(features, low, high, low, high, 256)
    minus, plus = (ops.constant(np.float32(end)) for end in (-1, 1))
    quantized = ops.fake_quantize(ops.constant(weights), minus, plus, minus, plus, 255)
    logits = ops.matmul(activations, quantized, False, False)
    scaled = ops.multiply(logits, ops.constant(np.float32(4 / FEATURES)))
    openvino.save_model(openvino.Model([scaled], [ids, mask]), folder / "model.xml", compress_to_fp16=False)
    return folder


def test_int8_sums_saturate_only_without_vnni(int8_form: Path) -> None:
    """On a processor without VNNI both results are the same."""
    texts = ["An excellent film", "A film"]
    exact = 1 / (1 + np.exp(-8))
    here = Classifier(int8_form).probabilities(texts)
    limited = without_vnni.probabilities(int8_form, texts)
    assert limited[1] == here[1] == pytest.approx(0.5)
    assert limited[0] < exact - 1e-4
    if without_vnni.has_vnni():
        assert here[0] == pytest.approx(exact, abs=1e-5)
    else:
        assert here[0] == limited[0]


def test_a_failure_gives_the_reason(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"does not run without VNNI: .*serving\.json"):
        without_vnni.probabilities(tmp_path, ["A film"])
