"""What the turns come to: tokens a second of each, their ratio, and the accuracies beside each other."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from benchmarks.serving.errors import BenchmarkError
from pipelines.statistics.intervals import Counts, Interval, bootstrap, wilson


class Step(TypedDict):
    """A line of progress.jsonl."""

    time: float
    tokens: int
    loss: float | None


class Rate(NamedTuple):
    tokens: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.tokens / self.seconds


Steps = Sequence[Step]
Turns = Sequence[tuple[float, float]]
Right = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One contender: real tokens in all, the seconds of its turns in which it trained, and its accuracy."""

    name: str
    tokens: int
    seconds: float
    accuracy: Interval

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Ratios:
    """Ours to the stock way, tokens a second turn by turn, and the difference of the accuracies."""

    median: float
    least: float
    most: float
    turns: int
    difference: Interval


def rates(steps: Steps, turns: Turns) -> list[Rate]:
    """Of each turn, from the end of its first step to that of its last; a turn of one step has no rate."""
    return [rate([step for step in steps if began <= step["time"] <= ended]) for began, ended in turns]


def rate(steps: Steps) -> Rate:
    if len(steps) < 2:
        return Rate(0, 0.0)
    return Rate(steps[-1]["tokens"] - steps[0]["tokens"], steps[-1]["time"] - steps[0]["time"])


def row(name: str, measured: Sequence[Rate], right: Right) -> Row:
    tokens, seconds = (sum(column) for column in zip(*measured, strict=True))
    return Row(name, int(tokens), float(seconds), wilson(int(right.sum()), len(right)))


def ratios(ours: Sequence[Rate], stock: Sequence[Rate], right: tuple[Right, Right], seed: int) -> Ratios:
    """Only turns that both had count; the difference is paired, review by review."""
    pairs = [pair for pair in zip(ours, stock, strict=False) if all(one.seconds for one in pair)]
    if not pairs:
        raise BenchmarkError("no turn had two steps of each: give --seconds or --reviews more")
    paired = [ours.per_second / stock.per_second for ours, stock in pairs]
    gained = right[0].astype(int) - right[1].astype(int)

    def difference(counts: Counts) -> dict[str, npt.NDArray[np.float64]]:
        return {"difference": counts @ gained / len(gained)}

    ends = bootstrap(difference, len(gained), seed)["difference"]
    mean = Interval(float(gained.mean()), *ends)
    return Ratios(median(paired), min(paired), max(paired), len(paired), mean)


def markdown(rows: Sequence[Row], found: Ratios) -> str:
    lines = [
        "| | real tokens/s | tokens | seconds | accuracy (95 %) |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {one.name} | {one.tokens_per_second:,.0f} | {one.tokens:,} | {one.seconds:,.0f} "
            f"| {one.accuracy.value:.4f} ({one.accuracy.low:.4f} to {one.accuracy.high:.4f}) |"
            for one in rows
        ),
        "",
        f"Ours to stock, median of {found.turns} pairs of turns: {found.median:.2f} "
        f"({found.least:.2f} to {found.most:.2f}). Accuracy, ours less stock, on the same reviews: "
        f"{found.difference.value:+.4f} ({found.difference.low:+.4f} to {found.difference.high:+.4f}).",
        "",
    ]
    return "\n".join(lines)


def as_json(rows: Sequence[Row], found: Ratios) -> dict[str, object]:
    contenders = [asdict(one) | {"tokens_per_second": one.tokens_per_second} for one in rows]
    return {"contenders": contenders, "ratio": asdict(found)}
