"""Percentiles of latencies."""

from collections.abc import Iterable, Sequence

SUMMARY = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values, or NaN if there are none."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latency_summary(seconds: Iterable[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the maximum, in milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    return {name: round(percentile(ordered, share), 1) for name, share in SUMMARY.items()}
