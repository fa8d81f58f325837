"""The exported form, read by the pipeline and by the service: two readers of one contract."""

import random
from pathlib import Path

import numpy as np
import pytest

from bentos.sentiment.engine import Engine
from pipelines.serving import probabilities
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
