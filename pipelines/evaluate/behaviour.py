"""Behavioural tests: the share of each test's cases in which the model does what is expected."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.core.params import BehaviourParams
from pipelines.evaluate import behaviour_cases as cases
from pipelines.evaluate.behaviour_cases import Case, Expected

Array = npt.NDArray[np.float64]

TOLERANCE = 0.1
"""Smaller changes of a probability count as no change."""
TYPOS = 500
"""Number of reviews for the typo test."""


class Answered(NamedTuple):
    """A case with the probabilities of its text and of the changed text."""

    case: Case
    before: float
    after: float

    @property
    def holds(self) -> bool:
        return held(self.case.expected, self.before, self.after)


class Verdict(NamedTuple):
    """The result of one test: its answered cases and the required share of cases that hold."""

    name: str
    about: str
    answered: list[Answered]
    wanted: float

    @property
    def share(self) -> float:
        return float(np.mean([one.holds for one in self.answered]))

    @property
    def passed(self) -> bool:
        return self.share >= self.wanted

    @property
    def failures(self) -> list[Answered]:
        """The failed cases, worst first."""
        failed = [case for case in self.answered if not case.holds]
        return sorted(failed, key=lambda case: abs(case.after - case.before), reverse=True)


def held(expected: Expected, before: float, after: float) -> bool:
    """Return whether the probability of being positive changed as expected.

    `same` holds if the label is unchanged or the change is within TOLERANCE; `lower` if it fell by more.
    """
    match expected:
        case "same":
            return (before >= 0.5) == (after >= 0.5) or abs(after - before) <= TOLERANCE
        case "lower":
            return after < before - TOLERANCE
        case "not lower":
            return after >= before - TOLERANCE
        case "not higher":
            return after <= before + TOLERANCE
        case "positive":
            return after >= 0.5
        case "negative":
            return after < 0.5


def suite(reviews: Sequence[str], seed: int) -> dict[str, tuple[str, list[Case]]]:
    """Return each test's description and cases, by its name in params.yaml."""
    step = max(1, len(reviews) // TYPOS)
    return {
        "invariance_names": ("replacing a name or title changes nothing", list(cases.names())),
        "invariance_typos": (
            "swapping two letters in a review changes nothing",
            list(cases.typos(reviews[::step][:TYPOS], seed)),
        ),
        "negation": ('"not good" is less positive than "good"', list(cases.negation())),
        "intensity": ("an intensifier does not weaken the sentiment", list(cases.intensity())),
        "minimum_function": ("plain praise and criticism are recognised", list(cases.minimum())),
        "emoji": ("an emoji decides the label of a neutral text", list(cases.emoji())),
        "rating": ("so does a rating such as 2/10", list(cases.ratings())),
    }


def judge(
    answer: Callable[[Sequence[str]], Array], reviews: Sequence[str], wanted: BehaviourParams, seed: int
) -> list[Verdict]:
    """Run all tests; `answer` returns the probabilities [texts]."""
    tests = suite(reviews, seed)
    texts = sorted(
        {text for _, test in tests.values() for case in test for text in (case.text, case.changed)}
    )
    known: Mapping[str, float] = dict(zip(texts, answer(texts).tolist(), strict=True))
    return [
        Verdict(
            name,
            about,
            [Answered(case, known[case.text], known[case.changed]) for case in test],
            getattr(wanted, name),
        )
        for name, (about, test) in tests.items()
    ]


def in_words(verdicts: Sequence[Verdict]) -> str:
    """Return `passed`, or `failed:` with each failed test, its share and the required share."""
    failed = [
        f"{verdict.name} {verdict.share:.3f}, at least {verdict.wanted} required"
        for verdict in verdicts
        if not verdict.passed
    ]
    return f"failed: {'; '.join(failed)}" if failed else "passed"
