"""A running Bento follows the registry, asked by many clients all the while."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from bentos.sentiment.promotion.history import PENDING, Plan, add, end
from tests.bentos.conftest import (
    READY_SECONDS,
    MlflowServer,
    Registry,
    Server,
    serve,
    serve_registry,
    stop,
    wait_for,
)
from tests.bentos.model import REVIEWS, register

CLIENTS = 16


class Clients:
    """Ask without a pause, each with texts of its own, until stopped."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self.statuses: list[int] = []
        self.versions: list[tuple[float, str]] = []
        self._running = [self._pool.submit(self._ask, number) for number in range(CLIENTS)]

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self._server.client.base_url, timeout=READY_SECONDS) as client:
            for count in range(10**9):
                if self._stopped.is_set():
                    return
                texts = [f"{REVIEWS[count % len(REVIEWS)]} {number} {count}", REVIEWS[0]]
                sent = time.monotonic()
                response = client.post("/classify", json={"texts": texts})
                self.statuses.append(response.status_code)
                self.versions += [(sent, answer["model_version"]) for answer in response.json()]

    def stop(self) -> None:
        self._stopped.set()
        for running in self._running:
            running.result()  # what a client raised is raised here
        self._pool.shutdown()


@pytest.fixture(scope="module")
def mlflow(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """For the tests that leave it running; each promotes versions of its own."""
    with serve_registry(empty_database, tmp_path_factory.mktemp("mlflow") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def following(mlflow: MlflowServer, serving: list[Path]) -> Iterator[Server]:
    mlflow.promote(serving[0])
    with serve(mlflow, SENTIMENT_POLL_SECONDS="0.2") as server:
        yield server


def version(server: Server) -> str:
    return str(server.classify(["good"]).json()[0]["model_version"])


def workers(server: Server, version: str) -> float:
    return server.metric(f'sentiment_model_workers{{model_version="{version}"')


def test_a_promotion_and_a_rollback_under_load(
    mlflow: MlflowServer, following: Server, serving: list[Path]
) -> None:
    old, swaps = version(following), following.metric("sentiment_model_swaps_total")
    clients = Clients(following)
    try:
        new = mlflow.promote(serving[1])
        wait_for(lambda: version(following) == new, "the promotion")
        promoted = time.monotonic()
        mlflow.client.set_registered_model_alias("sentiment", "champion", old)
        wait_for(lambda: version(following) == old, "the rollback")
        rolled_back = time.monotonic()
        time.sleep(0.5)
    finally:
        clients.stop()
    assert set(clients.statuses) == {200}
    assert len(clients.statuses) > 10 * CLIENTS
    assert {answer for sent, answer in clients.versions if sent < promoted} == {old, new}
    assert {answer for sent, answer in clients.versions if sent > rolled_back} == {old}
    assert following.metric("sentiment_model_swaps_total") == swaps + 2
    assert (workers(following, old), workers(following, new)) == (1, 0)
    assert f"version {new} has taken over from version {old}" in following.log.read_text()


def test_a_broken_champion_is_refused_and_the_next_one_served(
    mlflow: MlflowServer, following: Server, serving: list[Path], tmp_path: Path
) -> None:
    """Its checksum is right, it was registered like that, but it is no model. A restart refuses it too."""
    old = version(following)
    for file in serving[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:100])
    broken = mlflow.promote(tmp_path)
    refusals = f'sentiment_model_refusals_total{{model_version="{broken}"}}'
    wait_for(lambda: following.metric(refusals) >= 2, "the refusal, and the second one some polls later")
    assert version(following) == old
    assert following.log.read_text().count(f"champion {broken} is refused") == 1

    with serve(mlflow, SENTIMENT_POLL_SECONDS="0") as restarted:
        assert version(restarted) == old
        assert f"version {broken} cannot be loaded" in restarted.log.read_text()

    new = mlflow.promote(serving[2])
    wait_for(lambda: version(following) == new, "the promotion")


def test_a_champion_of_other_weights_than_registered_is_refused(
    mlflow: MlflowServer, following: Server, serving: list[Path]
) -> None:
    old, wrong = version(following), register(mlflow.client, serving[1])
    mlflow.client.set_model_version_tag("sentiment", wrong, "weights_sha256", "0" * 64)
    mlflow.client.set_registered_model_alias("sentiment", "champion", wrong)
    wait_for(lambda: f"champion {wrong} is refused" in following.log.read_text(), "the refusal")
    assert "the sha256 of its model.bin" in following.log.read_text()
    assert version(following) == old


def test_workers_agree(mlflow: MlflowServer, serving: list[Path]) -> None:
    old = mlflow.promote(serving[0])
    with serve(mlflow, SENTIMENT_POLL_SECONDS="0.2", SENTIMENT_WORKERS="2") as server:
        wait_for(lambda: workers(server, old) == 2, "the start")
        new = mlflow.promote(serving[1])
        wait_for(lambda: workers(server, new) == 2, "the promotion")
        assert workers(server, old) == 0
        assert server.metric("sentiment_model_swaps_total") == 2


def test_an_mlflow_that_hangs_or_dies_stops_nothing(mlflow_server: MlflowServer, serving: list[Path]) -> None:
    mlflow_server.promote(serving[0])
    with serve(mlflow_server, SENTIMENT_POLL_SECONDS="0.2") as server:
        for process in (parent := psutil.Process(mlflow_server.process.pid)).children(True):
            process.suspend()
        parent.suspend()
        time.sleep(0.5)
        assert version(server) == "1"
        stop(mlflow_server.process)
        # The history of promotions, which is read too, has a line of its own.
        wait_for(lambda: "Version 1 goes on" in server.log.read_text(), "the log line")
        time.sleep(1)  # five polls
        assert version(server) == "1"
        assert server.log.read_text().count("Version 1 goes on") == 1, "once an outage"
        started = time.monotonic()
        server.process.terminate()
        server.process.wait(READY_SECONDS)
        assert time.monotonic() - started < 20


def test_a_database_is_not_followed(registry: Registry, serving: list[Path]) -> None:
    registry.promote(serving[0])
    with serve(registry, SENTIMENT_POLL_SECONDS="0.1") as server:
        assert "followed with an MLflow server only" in server.log.read_text()


def test_it_tells_how_promotions_ended(mlflow_server: MlflowServer, serving: list[Path]) -> None:
    """What was refused while it was down, too."""
    first = mlflow_server.promote(serving[0])
    for outcome in ("promoted", "refused", "refused"):
        add(mlflow_server.client, Plan("", first, "a test"), outcome)
    began = time.time()
    with serve(mlflow_server, SENTIMENT_POLL_SECONDS="0.1") as server:
        wait_for(lambda: server.metric('sentiment_promotions{outcome="refused"}') == 2, "the count")
        assert server.metric('sentiment_promotions{outcome="promoted"}') == 1
        under_way = add(mlflow_server.client, Plan(first, first, "a test"), PENDING, lease_seconds=60)
        end(mlflow_server.client, under_way.number, "rolled_back")
        wait_for(lambda: server.metric('sentiment_promotions{outcome="rolled_back"}') == 1, "a later one")
        last = server.metric('sentiment_promotion_last_seconds{outcome="rolled_back"}')
        assert began <= last <= time.time()
        assert server.metric("sentiment_registry_reachable") == 1
        stop(mlflow_server.process)
        wait_for(lambda: server.metric("sentiment_registry_reachable") == 0, "noticing")
        assert server.metric('sentiment_promotions{outcome="refused"}') == 2, "as far as is known"
