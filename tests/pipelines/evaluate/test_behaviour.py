from collections.abc import Sequence

import numpy as np
import pytest

from pipelines.core.params import load_params
from pipelines.evaluate import behaviour_cases as cases
from pipelines.evaluate.behaviour import held, in_words, judge
from pipelines.evaluate.behaviour_cases import Expected
from tests.project import ROOT

WANTED = load_params(ROOT / "params.yaml").evaluate.behaviour
REVIEWS = ["It has two hours.", "Somebody rides.", "No."]


def count_words(texts: Sequence[str], negation: bool) -> np.ndarray:
    """A model that counts positive and negative words; with `negation`, `not` reverses the result."""
    praise = {
        *cases.LIKED,
        *cases.HIGH,
        *cases.GOOD,
        *cases.PLAINLY_GOOD,
        "moving",
        "wonderful",
        "smart",
        "delight",
        "loved",
    }
    blame = {
        *cases.DISLIKED,
        *cases.LOW,
        *cases.BAD,
        *cases.PLAINLY_BAD,
        "wasted",
        "tedious",
        "lifeless",
        "dreary",
        "bored",
    }
    answers = []
    for text in texts:
        words = text.lower().rstrip(".!").split()
        balance = sum((word in praise) - (word in blame) for word in words)
        balance += sum(f" {text}".rstrip(".").endswith(f" {rating}") for rating in cases.HIGH)
        balance -= sum(f" {text}".rstrip(".").endswith(f" {rating}") for rating in cases.LOW)
        if negation and {"not", "isn't"} & set(words):
            balance = -balance
        answers.append(1 / (1 + np.exp(-2 * balance)))
    return np.array(answers)


def test_a_model_that_ignores_negation_fails_only_that_test() -> None:
    verdicts = judge(lambda texts: count_words(texts, negation=False), REVIEWS, WANTED, seed=1)
    assert in_words(verdicts) == f"failed: negation 0.000, at least {WANTED.negation} required"
    (failed,) = [one for one in verdicts if not one.passed]
    assert len(failed.failures) == len(failed.answered) == 36


def test_a_reasonable_model_passes() -> None:
    verdicts = judge(lambda texts: count_words(texts, negation=True), REVIEWS, WANTED, seed=1)
    assert in_words(verdicts) == "passed"
    assert {one.name for one in verdicts} == set(type(WANTED).model_fields)


def test_a_constant_model_fails_what_has_opposite_labels() -> None:
    verdicts = judge(lambda texts: np.full(len(texts), 0.9), REVIEWS, WANTED, seed=1)
    failed = {one.name for one in verdicts if not one.passed}
    assert failed == {"negation", "minimum_function", "emoji", "rating"}


@pytest.mark.parametrize(
    ("expected", "before", "after", "holds"),
    [
        ("same", 0.9, 0.55, True),
        ("same", 0.54, 0.46, True),
        ("same", 0.6, 0.45, False),
        ("lower", 0.9, 0.7, True),
        ("lower", 0.9, 0.85, False),
        ("not lower", 0.9, 0.85, True),
        ("not lower", 0.9, 0.7, False),
        ("not higher", 0.1, 0.3, False),
        ("positive", 0.0, 0.5, True),
        ("negative", 0.0, 0.5, False),
    ],
)
def test_expectations(expected: Expected, before: float, after: float, holds: bool) -> None:
    assert held(expected, before, after) is holds


def test_a_typo_swaps_two_letters_of_a_word() -> None:
    (film, dull) = cases.typos(REVIEWS, seed=1)  # `No.` has no word of sufficient length
    for case in (film, dull):
        assert sorted(case.text) == sorted(case.changed)
        assert sum(one != other for one, other in zip(case.text, case.changed, strict=True)) in (0, 2)
    assert [*cases.typos(REVIEWS, seed=1)] == [film, dull]
