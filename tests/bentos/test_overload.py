"""More than can be done: who is let in is answered, who is not hears so at once."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.bentos.conftest import READY_SECONDS, Registry, Server, serve, wait_for

LONG = "a warm and funny film that goes nowhere " * 8


def texts(request: int, length: int = 1) -> list[str]:
    return [f"{request} {number} {LONG * length}" for number in range(64)]


def send(server: Server, request: int, length: int = 1) -> socket.socket:
    """A whole request on a connection of its own; nothing is read."""
    url = server.client.base_url
    body = json.dumps({"texts": texts(request, length)}).encode()
    head = f"POST /classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection((url.host, url.port), timeout=READY_SECONDS)
    connection.sendall(head.encode() + body)
    return connection


def test_a_flood(shared: Registry) -> None:
    """64 clients that never pause, each with 64 texts; a second of waiting is allowed, half of it planned."""
    limits = {"SENTIMENT_MAX_LATENCY_MS": "1000", "SENTIMENT_MAX_CONCURRENCY": "48"}
    with serve(shared, **limits) as server, ThreadPoolExecutor(64) as pool:
        end, last = time.monotonic() + 4, time.monotonic() + READY_SECONDS
        served: list[int] = []

        def flood(number: int) -> list[httpx.Response]:
            responses: list[httpx.Response] = []
            with httpx.Client(base_url=server.client.base_url, timeout=READY_SECONDS) as client:
                while time.monotonic() < end or (len(served) <= 10 and time.monotonic() < last):
                    body = {"texts": texts(1000 * number + len(responses))}
                    responses.append(client.post("/classify", json=body))
                    if responses[-1].status_code == 200:
                        served.append(number)
                    else:
                        time.sleep(0.05)
            return responses

        responses = [response for found in pool.map(flood, range(64)) for response in found]
        refusals = server.metric('sentiment_requests_refused_total{status="429"}')
        assert "Traceback" not in server.log.read_text(), "overload is no exception"
    answered = [response for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code != 200]
    assert {response.status_code for response in refused} <= {429, 503}
    assert len(answered) > 10
    assert all(len(response.json()) == 64 for response in answered)
    assert refusals == sum(response.status_code == 429 for response in refused) > 0
    assert all(1 <= int(response.headers["Retry-After"]) <= 30 for response in refused)


def test_the_work_of_vanished_clients_is_dropped(shared: Registry) -> None:
    with serve(shared, SENTIMENT_MAX_BATCH_SIZE="4") as server:
        before = server.metric("sentiment_cache_misses_total")
        for connection in [send(server, number) for number in range(40)]:
            connection.close()
        wait_for(lambda: server.metric('sentiment_requests_refused_total{status="499"}') > 0, "the first end")
        wait_for(lambda: server.classify(["good"]).status_code == 200, "the end of the queue")
        assert server.metric("sentiment_cache_misses_total") - before < 40 * 64 / 2
        assert "Traceback" not in server.log.read_text()


def test_what_is_in_is_answered_before_the_end(shared: Registry) -> None:
    patient = {"SENTIMENT_MAX_LATENCY_MS": "120000", "SENTIMENT_TIMEOUT_SECONDS": "120"}
    with serve(shared, SENTIMENT_MAX_BATCH_SIZE="2", **patient) as server:
        asked = 'bentoml_service_request_in_progress{endpoint="/classify"'
        answered = 'bentoml_service_request_total{endpoint="/classify"'
        before = server.metric(answered)
        connections = [send(server, number, length=12) for number in range(10)]
        wait_for(lambda: server.metric(asked) + server.metric(answered) - before == 10, "the burst")
        assert server.metric(asked) > 0, "else there is nothing left to answer"
        server.process.terminate()
        for connection in connections:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            connection.close()
        server.process.wait(READY_SECONDS)


def test_a_body_that_is_too_long_and_one_that_takes_too_long(shared: Registry) -> None:
    with serve(shared, SENTIMENT_MAX_BODY_BYTES="1000", SENTIMENT_TIMEOUT_SECONDS="1") as server:
        assert server.classify(["good"]).status_code == 200
        assert server.classify(["x" * 1000]).status_code == 413
        url = server.client.base_url
        with socket.create_connection((url.host, url.port), timeout=READY_SECONDS) as connection:
            connection.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert connection.recv(100).startswith(b"HTTP/1.1 504")
