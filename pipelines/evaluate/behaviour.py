"""Whether the model behaves: the share of cases of each kind in which its answer does what it must."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.core.params import BehaviourParams
from pipelines.evaluate import behaviour_cases as cases
from pipelines.evaluate.behaviour_cases import Case, Expected

Array = npt.NDArray[np.float64]

LEEWAY = 0.1
"""A probability that moved by less has not moved."""
TYPOS = 500
"""Real reviews in which one is made."""


class Answered(NamedTuple):
    """A case, and the probabilities of its text and of the changed one."""

    case: Case
    before: float
    after: float

    @property
    def holds(self) -> bool:
        return held(self.case.expected, self.before, self.after)


class Verdict(NamedTuple):
    """What came of one test: its share of cases that hold, and what is asked for."""

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
        """The worst first."""
        failed = [one for one in self.answered if not one.holds]
        return sorted(failed, key=lambda one: abs(one.after - one.before), reverse=True)


def held(expected: Expected, before: float, after: float) -> bool:
    """Whether the probability of being positive became what was expected of it.

    The same is what keeps its label or hardly moved; lower is what fell by more than the leeway.
    """
    match expected:
        case "same":
            return (before >= 0.5) == (after >= 0.5) or abs(after - before) <= LEEWAY
        case "lower":
            return after < before - LEEWAY
        case "not lower":
            return after >= before - LEEWAY
        case "not higher":
            return after <= before + LEEWAY
        case "positive":
            return after >= 0.5
        case "negative":
            return after < 0.5


def suite(reviews: Sequence[str], seed: int) -> dict[str, tuple[str, list[Case]]]:
    """The tests by their names in params.yaml: what each asks, and its cases."""
    step = max(1, len(reviews) // TYPOS)
    return {
        "invariance_names": ("another person or title changes nothing", list(cases.names())),
        "invariance_typos": (
            "two swapped letters in a review change nothing",
            list(cases.typos(reviews[::step][:TYPOS], seed)),
        ),
        "negation": ("what is not good is less positive", list(cases.negation())),
        "intensity": ("what is very good is no less positive, very bad no more", list(cases.intensity())),
        "minimum_function": ("what is plainly meant is understood", list(cases.minimum())),
    }


def judge(
    answer: Callable[[Sequence[str]], Array], reviews: Sequence[str], wanted: BehaviourParams, seed: int
) -> list[Verdict]:
    """Put every case to the model; `answer` gives probabilities [texts]."""
    tests = suite(reviews, seed)
    texts = {text for _, own in tests.values() for case in own for text in (case.text, case.changed)}
    asked = sorted(texts)
    known: Mapping[str, float] = dict(zip(asked, answer(asked).tolist(), strict=True))
    return [
        Verdict(
            name,
            about,
            [Answered(case, known[case.text], known[case.changed]) for case in own],
            getattr(wanted, name),
        )
        for name, (about, own) in tests.items()
    ]


def in_words(verdicts: Sequence[Verdict]) -> str:
    """`passed`, or `failed:` with each test that did, its share and the one that is asked for."""
    failed = [
        f"{one.name} {one.share:.3f}, at least {one.wanted} asked" for one in verdicts if not one.passed
    ]
    return f"failed: {'; '.join(failed)}" if failed else "passed"
