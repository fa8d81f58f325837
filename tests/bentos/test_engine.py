import json
import random
from pathlib import Path

import numpy as np
import pytest

from bentos.sentiment.engine import SUB_BATCH, Engine
from tests.bentos.model import MAX_TOKENS, REVIEWS


@pytest.fixture(scope="module")
def engine(serving: list[Path]) -> Engine:
    return Engine(serving[0])


def test_batching_does_not_change_an_answer(engine: Engine) -> None:
    alone = np.concatenate([engine.probabilities([text]) for text in REVIEWS])
    assert len(REVIEWS) > SUB_BATCH
    np.testing.assert_allclose(engine.probabilities(REVIEWS), alone, atol=1e-5)
    assert np.ptp(alone[:, 0]) > 0.1, "the texts must differ, or order would not show"


def test_answers_follow_the_order_of_the_texts(engine: Engine) -> None:
    expected = engine.probabilities(REVIEWS)
    order = random.Random(7).sample(range(len(REVIEWS)), len(REVIEWS))
    shuffled = engine.probabilities([REVIEWS[row] for row in order])
    np.testing.assert_allclose(shuffled, expected[order], atol=1e-5)


def test_probabilities_of_a_text_sum_to_one(engine: Engine) -> None:
    probabilities = engine.probabilities(REVIEWS)
    assert probabilities.shape == (len(REVIEWS), 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_no_texts_no_answers(engine: Engine) -> None:
    assert engine.probabilities([]).shape == (0, 2)


def test_a_text_is_read_up_to_max_tokens(engine: Engine) -> None:
    head = ". " * (MAX_TOKENS - 2)  # one token each; [CLS] and [SEP] take two
    cut, same, other = engine.probabilities([head + "bad " * 500, head, head[:-2] + "!"])
    np.testing.assert_allclose(cut, same, atol=1e-5)
    assert abs(cut[0] - other[0]) > 1e-5, "the last token that fits must count"


def test_any_character_is_a_text(engine: Engine) -> None:
    texts = ["\0", "😀", "\u202e", "é" * 1000, "\ufeff.", "日本語の映画"]
    assert np.isfinite(engine.probabilities(texts)).all()


def test_labels_and_length_come_from_the_artifact(serving: list[Path], tmp_path: Path) -> None:
    for file in serving[0].iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "serving.json").unlink()
    (tmp_path / "serving.json").write_text(json.dumps({"labels": ["no", "yes"], "max_tokens": 4}))
    engine = Engine(tmp_path)
    assert engine.labels == ["no", "yes"]
    cut, same = engine.probabilities([". . ! ! !", ". ."])
    np.testing.assert_allclose(cut, same, atol=1e-5)
