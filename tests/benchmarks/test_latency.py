import pytest

from benchmarks.latency import latency_summary, percentile


@pytest.mark.parametrize(("share", "expected"), [(0.5, 51), (0.95, 96), (0.99, 100), (1, 100)])
def test_percentile(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_the_summary_is_in_milliseconds() -> None:
    assert latency_summary([0.003, 0.001, 0.00204]) == {"p50": 2.0, "p99": 3.0, "max": 3.0}
