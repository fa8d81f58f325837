"""What the measurements come to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.serving.load import percentile


@dataclass(frozen=True)
class Line:
    """One question: milliseconds in the small store and the large one, and how they compare."""

    question: str
    answers: int  # of each store
    small_p50: float
    large_p50: float
    p50_ratio: float
    small_p99: float
    large_p99: float
    p99_ratio: float


def line(question: str, small: Sequence[float], large: Sequence[float]) -> Line:
    """From seconds of answers, in any order."""
    p50 = [percentile(sorted(seen), 0.5) * 1000 for seen in (small, large)]
    p99 = [percentile(sorted(seen), 0.99) * 1000 for seen in (small, large)]
    return Line(question, len(large), p50[0], p50[1], p50[1] / p50[0], p99[0], p99[1], p99[1] / p99[0])


@dataclass(frozen=True)
class Throughput:
    """Pages a second of each server, medians of the rounds; the ratio is that of each round, too."""

    ours: float
    bare: float
    ratio: float
    ours_gzip: float


def throughput(rounds: Sequence[Mapping[str, float]]) -> Throughput:
    """Each round has `ours`, `bare` and `ours_gzip`."""
    return Throughput(
        ours=median(seen["ours"] for seen in rounds),
        bare=median(seen["bare"] for seen in rounds),
        ratio=median(seen["ours"] / seen["bare"] for seen in rounds),
        ours_gzip=median(seen["ours_gzip"] for seen in rounds),
    )


def markdown(lines: Sequence[Line], pages: Throughput, small: int, large: int, clients: int) -> str:
    sizes = f"{small:,} rows", f"{large:,} rows", "ratio"
    head = " | ".join(["milliseconds", *(f"{share}, {of}" for share in ("p50", "p99") for of in sizes)])
    rows = [
        f"| {one.question} | {one.small_p50:.2f} | {one.large_p50:.2f} | {one.p50_ratio:.2f} "
        f"| {one.small_p99:.2f} | {one.large_p99:.2f} | {one.p99_ratio:.2f} |"
        for one in lines
    ]
    compared = (
        f"{clients} clients, {large:,} rows, one process: {pages.ours:.0f} pages a second"
        f" ({pages.ours_gzip:.0f} compressed); Starlette and asyncpg alone {pages.bare:.0f};"
        f" ratio {pages.ratio:.2f}."
    )
    return "\n".join([f"| {head} |", "| --- " * 7 + "|", *rows, "", compared, ""])


def as_json(lines: Sequence[Line], pages: Throughput) -> dict[str, object]:
    return {"questions": [asdict(one) for one in lines], "throughput": asdict(pages)}
