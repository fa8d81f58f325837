import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bentos.sentiment.cpu import SIZES, WIDTHS, sub_batches
from bentos.sentiment.engine import Engine
from bentos.sentiment.windows import padded, windows
from tests.bentos.reviews import MAX_TOKENS, REVIEWS, WINDOWS


@pytest.fixture(scope="module")
def engine(serving: list[Path]) -> Engine:
    return Engine(serving[0])


def test_batching_does_not_change_probabilities(engine: Engine) -> None:
    alone = np.concatenate([engine.probabilities([text]) for text in REVIEWS])
    assert len(REVIEWS) > SIZES[0]
    np.testing.assert_allclose(engine.probabilities(REVIEWS), alone, atol=1e-5)
    assert np.ptp(alone[:, 0]) > 0.1, "the texts must have different probabilities to reveal a wrong order"


def test_probabilities_are_in_the_order_of_the_texts(engine: Engine) -> None:
    expected = engine.probabilities(REVIEWS)
    order = random.Random(7).sample(range(len(REVIEWS)), len(REVIEWS))
    shuffled = engine.probabilities([REVIEWS[row] for row in order])
    np.testing.assert_allclose(shuffled, expected[order], atol=1e-5)


def test_probabilities_of_a_text_sum_to_one(engine: Engine) -> None:
    probabilities = engine.probabilities(REVIEWS)
    assert probabilities.shape == (len(REVIEWS), 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_no_texts(engine: Engine) -> None:
    assert engine.probabilities([]).shape == (0, 2)


def test_a_long_text_is_read_in_windows_and_without_its_middle(engine: Engine) -> None:
    room = MAX_TOKENS - 2  # each word is one token; [CLS] and [SEP] are two
    head, middle, tail = ". " * room, "bad " * 3 * room, "! " * room
    assert WINDOWS == 2
    texts = [head + tail, head + middle + tail, head, tail]
    assert [prediction.truncated for prediction in engine.classify(texts)] == [False, True, False, False]
    both, more, first, last = engine.probabilities(texts)
    np.testing.assert_allclose(more, both, atol=1e-5)
    np.testing.assert_allclose(both, (first + last) / 2, atol=1e-5)
    assert abs(first - last).max() > 1e-3, "the windows must differ to reveal a wrong mean"


def test_long_and_short_texts_keep_their_order(engine: Engine) -> None:
    texts = ["good " * 300, "Dull.", "bad " * 100, "Wonderful!", ". ! " * 60]
    alone = np.concatenate([engine.probabilities([text]) for text in texts])
    np.testing.assert_allclose(engine.probabilities(texts), alone, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "max_windows", "expected"),
    [
        ("", 2, [""]),
        ("abc", 2, ["abc"]),
        ("abcd", 2, ["ab", "cd"]),
        ("abcdefg", 3, ["ab", "cd", "efg"]),
        ("abcdefghi", 2, ["abc", "ghi"]),
        ("abcdefghi", 1, ["abi"]),
    ],
)
def test_windows_are_few_and_of_equal_length(text: str, max_windows: int, expected: list[str]) -> None:
    ids = [1, *text.encode(), 2]
    assert windows(ids, 5, max_windows) == [[1, *window.encode(), 2] for window in expected]


def test_any_character_is_accepted(engine: Engine) -> None:
    texts = ["\0", "😀", "\u202e", "é" * 1000, "\ufeff.", "日本語の映画"]
    assert np.isfinite(engine.probabilities(texts)).all()


def test_a_version_of_an_earlier_release_does_not_say_what_it_knows(serving: list[Path]) -> None:
    texts = [REVIEWS[0], "qqq"]
    assert [answer.known_share for answer in Engine(serving[0]).classify(texts)] == [None, None]
    assert [answer.known_share for answer in Engine(serving[1]).classify(texts)] == [1, 0]


def test_labels_and_limits_are_read_from_serving_json(serving: list[Path], tmp_path: Path) -> None:
    for file in serving[0].iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "serving.json").unlink()
    (tmp_path / "serving.json").write_text(
        json.dumps({"labels": ["no", "yes"], "max_tokens": 4, "windows": 1})
    )
    engine = Engine(tmp_path)
    assert engine.labels == ["no", "yes"]
    cut, same = engine.probabilities([". ? ? ? !", ". !"])
    np.testing.assert_allclose(cut, same, atol=1e-5)


@pytest.mark.parametrize("streams", [1, 2, 8])
@pytest.mark.parametrize("texts", [0, 1, 2, 7, 8, 13, 64])
def test_sub_batches_contain_every_text_once_and_keep_the_streams_busy(texts: int, streams: int) -> None:
    batches = [range(texts)[rows] for rows in sub_batches(texts, streams)]
    assert list(itertools.chain(*batches)) == list(range(texts))
    assert {len(batch) for batch in batches} <= set(SIZES)
    assert len(batches) >= min(texts, streams)


def test_few_shapes_reach_openvino(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It caches a kernel per shape: with a shape per length, memory grew to 2 GB."""
    shapes: set[tuple[int, int]] = set()

    def spy(windows: Sequence[list[int]], width: int) -> dict[str, NDArray[np.int64]]:
        shapes.add((len(windows), width))
        return padded(windows, width)

    monkeypatch.setattr("bentos.sentiment.cpu.padded", spy)
    for words in range(1, 2 * MAX_TOKENS):
        engine.probabilities([". " * words] * (words % 20 + 1))
    assert shapes == {(size, width) for size in SIZES for width in WIDTHS if width <= MAX_TOKENS}
