"""The verdict of a gate on a candidate."""

from dataclasses import dataclass
from enum import StrEnum

Figure = float | str | None
"""A value that a gate compares: a number, a text, or None if it is missing."""


class Outcome(StrEnum):
    PASSED = "passed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """Something that the gate needs is missing. Stops a promotion like a refusal."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The candidate's figure, the figure it is compared with (the champion's or a limit), and the reason.

    `lifts` says how the candidate could pass; it is empty if it did. Field names are keys of --json and of
    the history.
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
