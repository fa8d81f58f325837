"""What a gate says of a candidate."""

from dataclasses import dataclass
from enum import StrEnum

Figure = float | str | None
"""As the gate compares it: a number, or words; None where there is none."""


class Outcome(StrEnum):
    PASSED = "passed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """Something is missing that the gate needs; it lets nothing pass unseen."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The candidate's figure, the one it is held against (the champion's or a limit), and both in words.

    `lifts` says what would let the candidate pass; it is empty where it did.
    """

    gate: str
    outcome: Outcome
    candidate: Figure
    against: Figure
    says: str
    lifts: str = ""

    @property
    def stops(self) -> bool:
        return self.outcome != Outcome.PASSED


def passed(gate: str, candidate: Figure, against: Figure, says: str) -> Verdict:
    return Verdict(gate, Outcome.PASSED, candidate, against, says)


def refused(gate: str, candidate: Figure, against: Figure, says: str, lifts: str) -> Verdict:
    return Verdict(gate, Outcome.REFUSED, candidate, against, says, lifts)


def unknown(gate: str, candidate: Figure, against: Figure, says: str, lifts: str) -> Verdict:
    return Verdict(gate, Outcome.UNKNOWN, candidate, against, says, lifts)
