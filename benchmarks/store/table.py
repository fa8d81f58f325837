"""The table of the storage benchmark: latency by query, and throughput compared with the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.latency import percentile


@dataclass(frozen=True)
class Row:
    """A query: its latency in milliseconds in the small and the large database, and the ratios."""

    query: str
    requests: int  # to each database
    small_p50: float
    large_p50: float
    p50_ratio: float
    small_p99: float
    large_p99: float
    p99_ratio: float


def make_row(query: str, small: Sequence[float], large: Sequence[float]) -> Row:
    """Make a row from latencies in seconds, in any order."""
    p50 = [percentile(sorted(latencies), 0.5) * 1000 for latencies in (small, large)]
    p99 = [percentile(sorted(latencies), 0.99) * 1000 for latencies in (small, large)]
    return Row(query, len(large), p50[0], p50[1], p50[1] / p50[0], p99[0], p99[1], p99[1] / p99[0])


@dataclass(frozen=True)
class Throughput:
    """Pages per second and the ratio of API to baseline, each as the median over the rounds."""

    api: float
    baseline: float
    ratio: float
    api_gzip: float


def median_throughput(rounds: Sequence[Mapping[str, float]]) -> Throughput:
    """Each round has `api`, `baseline` and `api_gzip`."""
    return Throughput(
        api=median(one["api"] for one in rounds),
        baseline=median(one["baseline"] for one in rounds),
        ratio=median(one["api"] / one["baseline"] for one in rounds),
        api_gzip=median(one["api_gzip"] for one in rounds),
    )


def markdown(rows: Sequence[Row], pages: Throughput, small: int, large: int, clients: int) -> str:
    columns = (f"at {small:,}", f"at {large:,}", "ratio")
    heading = " | ".join(
        ["Milliseconds", *(f"{name} {column}" for name in ("p50", "p99") for column in columns)]
    )
    lines = [
        f"| {row.query} | {row.small_p50:.2f} | {row.large_p50:.2f} | {row.p50_ratio:.2f} "
        f"| {row.small_p99:.2f} | {row.large_p99:.2f} | {row.p99_ratio:.2f} |"
        for row in rows
    ]
    compared = (
        f"With {clients} clients and {large:,} reviews, one API process serves {pages.api:.0f} pages/s"
        f" ({pages.api_gzip:.0f} compressed), Starlette and asyncpg alone {pages.baseline:.0f};"
        f" the ratio is {pages.ratio:.2f}."
    )
    return "\n".join([f"| {heading} |", "| --- " * 7 + "|", *lines, "", compared, ""])


def as_json(rows: Sequence[Row], pages: Throughput) -> dict[str, object]:
    return {"queries": [asdict(row) for row in rows], "throughput": asdict(pages)}
