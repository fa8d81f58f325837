"""Conversion of a tiny classifier to int8, and the temperature in its logits."""

from pathlib import Path

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from pipelines.export.openvino_ir import divide_logits, quantize
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


def int8_weight(product: openvino.Node) -> NDArray[np.int64] | None:
    """Return the int8 weight of a matrix product, or None if both factors are activations."""
    node = product.input_value(1).get_node()
    while node.get_type_name() in ("Multiply", "Subtract", "Convert"):
        node = node.input_value(0).get_node()
    return node.get_data().astype(np.int64) if node.get_element_type() == openvino.Type.i8 else None


def test_int8_sums_fit_in_16_bits(exported: Path) -> None:
    """Two products of an unsigned 8-bit activation and a weight, which a processor without VNNI adds."""
    model = quantize(exported, REVIEWS[:10])
    products = [operation for operation in model.get_ops() if operation.get_type_name() == "MatMul"]
    weights = [weight for product in products if (weight := int8_weight(product)) is not None]
    assert len(weights) > len(products) / 2
    assert 2 * 255 * max(np.abs(weight).max() for weight in weights) < 2**15


def test_divided_logits_are_those_of_the_model_divided(exported: Path, tmp_path: Path) -> None:
    divided = save(divide_logits(exported, 2.5), exported, tmp_path / "divided")
    before = np.concatenate(Classifier(exported).logits(REVIEWS[:5]))
    after = np.concatenate(Classifier(divided).logits(REVIEWS[:5]))
    np.testing.assert_allclose(after, before / 2.5, rtol=1e-4, atol=1e-5)
