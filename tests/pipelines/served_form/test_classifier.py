"""The exported form, read by the pipeline and by the service: two readers of one contract."""

import random
from pathlib import Path

import numpy as np
import pytest

from bentos.sentiment.engine import Engine
from pipelines.served_form.classifier import Classifier, probabilities
from tests.bentos.model import REVIEWS, build_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("export") / "serving", seed=1)


def test_evaluation_sees_what_the_service_answers(exported: Path) -> None:
    """Whatever the length: short ones, some of two windows, and some of which the middle is left out."""
    order = random.Random(2)
    texts = [*REVIEWS, *(" ".join(order.choices(REVIEWS, k=count)) for count in range(2, 30))]
    engine = Engine(exported)
    positive = engine.probabilities(texts)[:, engine.labels.index("positive")]
    np.testing.assert_allclose(probabilities(exported, texts), positive, atol=1e-5)
    assert {verdict.truncated for verdict in engine.classify(texts)} == {True, False}


def test_the_engine_meets_few_shapes(exported: Path) -> None:
    """It keeps what it compiles for each, which came to gigabytes; and no window outgrows the model."""
    classifier = Classifier(exported)
    lengths = range(2, classifier.max_tokens + 1)
    widths = [classifier._inputs([[1] * length])["input_ids"].shape[1] for length in lengths]
    assert all(
        length <= width <= classifier.max_tokens for length, width in zip(lengths, widths, strict=True)
    )
    assert len(set(widths)) <= 1 + classifier.max_tokens // 32
