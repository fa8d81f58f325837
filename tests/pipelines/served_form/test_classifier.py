"""The served form gives the same results in the pipeline and in the service."""

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


def test_the_pipeline_and_the_service_compute_the_same_probabilities(exported: Path) -> None:
    """For texts of one window, of two windows, and texts so long that their middle is omitted."""
    order = random.Random(2)
    texts = [*REVIEWS, *(" ".join(order.choices(REVIEWS, k=count)) for count in range(2, 30))]
    engine = Engine(exported)
    positive = engine.probabilities(texts)[:, engine.labels.index("positive")]
    np.testing.assert_allclose(probabilities(exported, texts), positive, atol=1e-5)
    assert {verdict.truncated for verdict in engine.classify(texts)} == {True, False}


def test_inputs_are_padded_to_few_widths_within_the_maximum(exported: Path) -> None:
    """OpenVINO caches the compiled code of each shape, which would grow to gigabytes."""
    classifier = Classifier(exported)
    lengths = range(2, classifier.max_tokens + 1)
    widths = [classifier._inputs([[1] * length])["input_ids"].shape[1] for length in lengths]
    assert all(
        length <= width <= classifier.max_tokens for length, width in zip(lengths, widths, strict=True)
    )
    assert len(set(widths)) <= 1 + classifier.max_tokens // 32
