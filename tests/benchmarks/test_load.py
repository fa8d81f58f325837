import math
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving import load
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import Family, free_port, new_mark, wait_until

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="apt-get install wrk")
STUB = Path(__file__).with_name("stub.py")
SECOND = 1_000_000


def output(*answers: tuple[float, float, int], sockets: int = 0) -> str:
    lines = [f"answer {start * SECOND:.0f} {end * SECOND:.0f} {status}" for start, end, status in answers]
    return "\n".join(["Running 4s test", "  4 threads and 4 connections", *lines, f"sockets {sockets}"])


def test_counts_good_answers_up_to_the_last() -> None:
    """Two batches of two, one a second and a half: the third was not done when the clock stopped at 4."""
    seen = load.parse(output((10, 11.5, 200), (10, 11.5, 200), (11.5, 13, 200), (11.5, 13, 200)), 4, 10)
    assert seen.throughput == pytest.approx(4 / 3)
    assert (seen.answers, seen.errors, seen.repeats) == (4, 0, 0)
    assert seen.p50 == pytest.approx(1.5)


def test_a_server_that_gets_stuck_is_counted_to_the_end() -> None:
    seen = load.parse(output((10, 10.5, 200), (10.5, 11, 200)), 4, 10)
    assert seen.throughput == pytest.approx(2 / 4)


def test_bad_answers_are_errors_and_have_no_latency() -> None:
    seen = load.parse(output((0, 0.001, 503), (0, 2, 200), (0, 0.001, 302), sockets=4), 2, 10)
    assert (seen.answers, seen.errors) == (1, 6)
    assert seen.p50 == seen.p99 == pytest.approx(2)


def test_no_answer_at_all() -> None:
    seen = load.parse(output(sockets=32), 2, 10)
    assert (seen.throughput, seen.answers, seen.errors) == (0, 0, 32)
    assert math.isnan(seen.p50)


def test_texts_sent_twice_are_counted() -> None:
    assert load.parse(output(*[(0, 1, 200)] * 5), 1, 3).repeats == 2


@pytest.mark.parametrize(("share", "expected"), [(0.5, 51), (0.95, 96), (0.99, 100), (1, 100)])
def test_percentile(share: float, expected: int) -> None:
    assert load.percentile(range(1, 101), share) == expected


def test_wrk_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchmarkError, match="apt-get install wrk"):
        load.find_wrk()


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with Family(new_mark()) as family:
        family.start([sys.executable, str(STUB), str(port), "positive"], {}, tmp_path / "log", tmp_path)
        wait_until(lambda: not port_is_free(port), family, 20)
        yield f"http://127.0.0.1:{port}/"


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@needs_wrk
def test_real_wrk(stub: str) -> None:
    """Every client sends texts of its own, quotes and all, and each failure is seen."""
    texts = [f'"{number}"\n ü \\' + (" boom" if number == 5 else "") for number in range(200_000)]
    seen = load.generate(stub, texts, lambda text: {"text": text}, clients=4, seconds=1)
    assert seen.answers > 10
    assert (seen.errors, seen.repeats) == (1, 0)
    assert 0 < seen.p50 <= seen.p95 <= seen.p99 < 1


@needs_wrk
def test_nobody_listens() -> None:
    with pytest.raises(BenchmarkError, match="wrk failed"):
        load.generate(f"http://127.0.0.1:{free_port()}/", ["a"], lambda text: text, clients=1, seconds=1)
