"""The table of two trainings: tokens per second, their ratio, and the difference in accuracy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from benchmarks.command import BenchmarkError
from pipelines.statistics.intervals import Codes, Interval, mean_difference

BOOTSTRAP_SEED = 0


class Step(TypedDict):
    """A line of progress.jsonl."""

    time: float
    tokens: int
    loss: float | None


class Rate(NamedTuple):
    """The tokens of a time slice, and the seconds in which they were processed."""

    tokens: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.tokens / self.seconds


Steps = Sequence[Step]
Slices = Sequence[tuple[float, float]]
Correct = npt.NDArray[np.bool_]
"""Whether each validation review is classified correctly, [seeds, reviews]."""


@dataclass(frozen=True)
class Row:
    """A contender: its tokens without padding, its measured seconds, and its accuracy."""

    name: str
    tokens: int
    seconds: float
    accuracy: Interval

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Comparison:
    """The speedup over the stock example in each pair of time slices, and the difference in accuracy."""

    median: float
    minimum: float
    maximum: float
    pairs: int
    accuracy_difference: Interval


def rates(steps: Steps, slices: Slices) -> list[Rate]:
    """Return the rate of each time slice, from the end of its first step to the end of its last step."""
    return [rate([step for step in steps if start <= step["time"] <= end]) for start, end in slices]


def rate(steps: Steps) -> Rate:
    if len(steps) < 2:
        return Rate(0, 0.0)
    return Rate(steps[-1]["tokens"] - steps[0]["tokens"], steps[-1]["time"] - steps[0]["time"])


def make_row(name: str, rates: Sequence[Rate], correct: Correct, movies: Codes) -> Row:
    tokens, seconds = (sum(column) for column in zip(*rates, strict=True))
    return Row(
        name, int(tokens), float(seconds), mean_difference(correct.astype(float), movies, BOOTSTRAP_SEED)
    )


def compare(
    stage: Sequence[Rate],
    stock: Sequence[Rate],
    stage_correct: Correct,
    stock_correct: Correct,
    movies: Codes,
) -> Comparison:
    """Compare pairs of consecutive time slices, and the accuracies review by review.

    The interval of the difference is for other seeds and other movies.

    Raises BenchmarkError if there is no pair in which both did two steps.
    """
    pairs = [pair for pair in zip(stage, stock, strict=False) if all(rate.seconds for rate in pair)]
    if not pairs:
        raise BenchmarkError("no time slice had two steps of both: increase --seconds or --reviews")
    speedups = [fast.per_second / slow.per_second for fast, slow in pairs]
    gain = stage_correct.astype(float) - stock_correct.astype(float)
    interval = mean_difference(gain, movies, BOOTSTRAP_SEED)
    return Comparison(median(speedups), min(speedups), max(speedups), len(speedups), interval)


def markdown(rows: Sequence[Row], found: Comparison) -> str:
    difference = found.accuracy_difference
    lines = [
        "| | Tokens/s without padding | Tokens | Seconds | Accuracy (95 %) |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {row.name} | {row.tokens_per_second:,.0f} | {row.tokens:,} | {row.seconds:,.0f} "
            f"| {row.accuracy.value:.4f} ({row.accuracy.low:.4f} to {row.accuracy.high:.4f}) |"
            for row in rows
        ),
        "",
        f"Speedup of the stage, median of {found.pairs} pairs of time slices: {found.median:.2f} "
        f"({found.minimum:.2f} to {found.maximum:.2f}). Accuracy, stage minus stock: "
        f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}).",
        "",
    ]
    return "\n".join(lines)


def as_json(rows: Sequence[Row], found: Comparison) -> dict[str, object]:
    contenders = [asdict(row) | {"tokens_per_second": row.tokens_per_second} for row in rows]
    return {"contenders": contenders, "comparison": asdict(found)}
