import math
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.command import BenchmarkError
from benchmarks.processes import ProcessTree, free_port
from benchmarks.serving import load
from benchmarks.wrk import find_wrk

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="apt-get install wrk")
STUB_SERVER = Path(__file__).with_name("stub_server.py")
MICROSECONDS = 1_000_000


def output(*responses: tuple[float, float, int], sockets: int = 0) -> str:
    """Return the output of wrk.lua for responses of start, end and status."""
    lines = [
        f"response {start * MICROSECONDS:.0f} {end * MICROSECONDS:.0f} {status}"
        for start, end, status in responses
    ]
    return "\n".join(["Running 4s test", "  4 threads and 4 connections", *lines, f"sockets {sockets}"])


def test_throughput_is_counted_up_to_the_last_response() -> None:
    """Batches of two take 1.5 seconds; after 4 seconds, the third batch is not finished."""
    found = load.parse(output((10, 11.5, 200), (10, 11.5, 200), (11.5, 13, 200), (11.5, 13, 200)), 4, 10)
    assert found.throughput == pytest.approx(4 / 3)
    assert (found.successful, found.errors, found.repeats) == (4, 0, 0)
    assert found.p50 == pytest.approx(1.5)


def test_throughput_of_a_stuck_server_is_counted_up_to_the_end() -> None:
    found = load.parse(output((10, 10.5, 200), (10.5, 11, 200)), 4, 10)
    assert found.throughput == pytest.approx(2 / 4)


def test_failed_requests_are_errors_without_latency() -> None:
    found = load.parse(output((0, 0.001, 503), (0, 2, 200), (0, 0.001, 302), sockets=4), 2, 10)
    assert (found.successful, found.errors) == (1, 6)
    assert found.p50 == found.p99 == pytest.approx(2)


def test_no_response() -> None:
    found = load.parse(output(sockets=32), 2, 10)
    assert (found.throughput, found.successful, found.errors) == (0, 0, 32)
    assert math.isnan(found.p50)


def test_repeated_texts_are_counted() -> None:
    assert load.parse(output(*[(0, 1, 200)] * 5), 1, 3).repeats == 2


def test_a_missing_wrk_is_an_error_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchmarkError, match="apt-get install wrk"):
        find_wrk()


@pytest.fixture
def stub_server(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with ProcessTree() as processes:
        command = [sys.executable, str(STUB_SERVER), str(port), "positive"]
        processes.start(command, {}, tmp_path / "log", tmp_path)
        processes.wait_until(lambda: is_listening(port), 20)
        yield f"http://127.0.0.1:{port}/"


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@needs_wrk
@pytest.mark.process
def test_wrk_sends_each_text_once_and_counts_the_errors(stub_server: str) -> None:
    texts = [f'"{number}"\n ü \\' + (" boom" if number == 5 else "") for number in range(200_000)]
    found = load.generate(stub_server, texts, lambda text: {"text": text}, clients=4, seconds=1)
    assert found.successful > 10
    assert (found.errors, found.repeats) == (1, 0)
    assert 0 < found.p50 <= found.p95 <= found.p99 < 1


@needs_wrk
@pytest.mark.process
def test_a_refused_connection_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="wrk failed"):
        load.generate(f"http://127.0.0.1:{free_port()}/", ["a"], lambda text: text, clients=1, seconds=1)
