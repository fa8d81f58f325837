"""Overload: admitted requests are answered, the others are rejected at once."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.bentos.conftest import READY_SECONDS, Registry, Server, serve, wait_for

pytestmark = pytest.mark.process

LONG = "a warm and funny film that goes nowhere " * 8


def texts(request: int, length: int = 1) -> list[str]:
    return [f"{request} {number} {LONG * length}" for number in range(64)]


def send(server: Server, request: int, length: int = 1) -> socket.socket:
    """Send a request on a new connection, and read nothing."""
    url = server.client.base_url
    body = json.dumps({"texts": texts(request, length)}).encode()
    head = f"POST /classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection((url.host, url.port), timeout=READY_SECONDS)
    connection.sendall(head.encode() + body)
    return connection


def test_a_flood(offline: Registry) -> None:
    """64 clients send 64 texts each without a pause; the queue may hold one second of work."""
    limits = {"SENTIMENT_MAX_LATENCY_MS": "1000", "SENTIMENT_MAX_CONCURRENCY": "48"}
    with serve(offline, **limits) as server, ThreadPoolExecutor(64) as pool:
        end, last = time.monotonic() + 2, time.monotonic() + READY_SECONDS
        statuses: list[int] = []

        def is_over() -> bool:
            if time.monotonic() < end:
                return False
            return (statuses.count(200) > 10 and 429 in statuses) or time.monotonic() > last

        def flood(number: int) -> list[httpx.Response]:
            responses: list[httpx.Response] = []
            with httpx.Client(base_url=server.client.base_url, timeout=READY_SECONDS) as client:
                while not is_over():
                    body = {"texts": texts(1000 * number + len(responses))}
                    responses.append(client.post("/classify", json=body))
                    statuses.append(responses[-1].status_code)
                    if responses[-1].status_code != 200:
                        time.sleep(0.05)
            return responses

        responses = [response for found in pool.map(flood, range(64)) for response in found]
        refusals = server.metric('sentiment_requests_refused_total{status="429"}')
        assert "Traceback" not in server.log.read_text(), "overload is not an error"
    answered = [response for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code != 200]
    assert {response.status_code for response in refused} <= {429, 503}
    assert len(answered) > 10
    assert all(len(response.json()) == 64 for response in answered)
    assert refusals == sum(response.status_code == 429 for response in refused) > 0
    assert all(1 <= int(response.headers["Retry-After"]) <= 30 for response in refused)


def test_requests_of_disconnected_clients_are_dropped(offline: Registry) -> None:
    with serve(offline, SENTIMENT_MAX_BATCH_SIZE="4") as server:
        before = server.metric("sentiment_cache_misses_total")
        for connection in [send(server, number) for number in range(40)]:
            connection.close()
        wait_for(lambda: server.metric('sentiment_requests_refused_total{status="499"}') > 0, "the first 499")
        wait_for(lambda: server.classify(["good"]).status_code == 200, "an answer after the queue")
        assert server.metric("sentiment_cache_misses_total") - before < 40 * 64 / 2
        assert "Traceback" not in server.log.read_text()


def test_requests_in_flight_are_answered_before_shutdown(offline: Registry) -> None:
    patient = {"SENTIMENT_MAX_LATENCY_MS": "1200000", "SENTIMENT_TIMEOUT_SECONDS": "600"}
    with serve(offline, SENTIMENT_MAX_BATCH_SIZE="2", **patient) as server:
        in_progress = 'bentoml_service_request_in_progress{endpoint="/classify"'
        answered = 'bentoml_service_request_total{endpoint="/classify"'
        connections: list[socket.socket] = []
        with ExitStack() as opened:

            def are_in_flight() -> bool:
                """Send 10 requests. When all are admitted, a busy machine may have answered them."""
                before = server.metric(answered)
                for _ in range(10):
                    connections.append(opened.enter_context(send(server, len(connections), length=12)))
                wait_for(
                    lambda: server.metric(in_progress) + server.metric(answered) - before == 10,
                    "the 10 admissions",
                )
                return server.metric(in_progress) > 0

            wait_for(are_in_flight, "unanswered requests")
            server.process.terminate()
            for connection in connections:
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
        server.process.wait(READY_SECONDS)


def test_a_hanging_engine_is_neither_ready_nor_alive_until_it_goes_on(
    offline: Registry, tmp_path: Path
) -> None:
    """/readyz fails after SENTIMENT_TIMEOUT_SECONDS, /livez after four times that."""
    hanging = tmp_path / "hanging"
    settings = {"HANG_WHILE": str(hanging), "SENTIMENT_TIMEOUT_SECONDS": "2"}
    with serve(offline, "tests.bentos.hanging", **settings) as server:

        def status(path: str) -> int:
            return server.client.get(path).status_code

        hanging.touch()
        started = time.monotonic()
        assert server.classify(["good"]).status_code == 504
        wait_for(lambda: status("/readyz") == 503, "the failure of /readyz")
        if time.monotonic() - started < 7:
            assert status("/livez") == 200
        wait_for(lambda: status("/livez") == 503, "the failure of /livez")
        assert time.monotonic() - started > 8
        assert "has been unanswered for" in server.client.get("/readyz").text
        hanging.unlink()
        wait_for(lambda: status("/readyz") == status("/livez") == 200, "the recovery")


def test_the_bodies_in_flight_are_limited_together(offline: Registry, tmp_path: Path) -> None:
    """Two bodies of 600 bytes, of which the memory holds one; it is free again after the answer."""
    hanging = tmp_path / "hanging"
    limits = {"SENTIMENT_MAX_TOTAL_BODY_BYTES": "1000", "SENTIMENT_TIMEOUT_SECONDS": "5"}
    with serve(offline, "tests.bentos.hanging", HANG_WHILE=str(hanging), **limits) as server:
        hanging.touch()
        with ThreadPoolExecutor(2) as pool:
            responses = list(pool.map(server.classify, [["a" * 580], ["b" * 580]]))
        refused, late = sorted(responses, key=lambda response: response.status_code)
        assert (refused.status_code, late.status_code) == (429, 504)
        assert "the bodies of other requests fill the memory" in refused.text
        assert int(refused.headers["Retry-After"]) >= 1
        hanging.unlink()
        wait_for(lambda: server.classify(["c" * 580]).status_code == 200, "an answer")


@pytest.fixture(scope="module")
def limited(offline: Registry) -> Iterator[Server]:
    """One request at a time, two texts of 10 characters, 1000 bytes, 4 seconds."""
    limits = {"CONCURRENCY": "1", "TEXTS": "2", "TEXT_CHARS": "10", "BODY_BYTES": "1000"}
    settings = {f"SENTIMENT_MAX_{name}": value for name, value in limits.items()}
    with serve(offline, SENTIMENT_TIMEOUT_SECONDS="4", **settings) as server:
        yield server


def test_the_settings_limit_concurrency_and_texts(limited: Server) -> None:
    """Concurrent requests are answered 429, more texts 400; admitted requests are answered."""
    with ThreadPoolExecutor(30) as pool:
        responses = list(pool.map(lambda _: limited.classify(["good", "bad"]), range(60)))
    assert limited.classify(["good"] * 3).status_code == 400
    assert "10 are allowed" in limited.classify(["much too long"]).text
    assert {response.status_code for response in responses} == {200, 429}
    assert all(len(response.json()) == 2 for response in responses if response.status_code == 200)


def test_the_settings_limit_size_and_duration(limited: Server) -> None:
    assert limited.classify(["good"]).status_code == 200
    assert limited.classify(["x" * 1000]).status_code == 413
    url = limited.client.base_url
    with socket.create_connection((url.host, url.port), timeout=READY_SECONDS) as connection:
        connection.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 504")
