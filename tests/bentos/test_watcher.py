"""A running Bento swaps in new champions while clients send requests."""

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
    Server,
    emptied,
    serve,
    wait_for,
)
from tests.bentos.registration import register
from tests.bentos.reviews import REVIEWS

pytestmark = pytest.mark.process

CLIENTS = 4


class Clients:
    """Clients that send requests without a pause, each with its own texts, until stopped."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self.statuses: list[int] = []
        self.versions: list[tuple[float, str]] = []
        self._running = [self._pool.submit(self._send, number) for number in range(CLIENTS)]

    def _send(self, number: int) -> None:
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
            running.result()  # raises what the client raised
        self._pool.shutdown()


@pytest.fixture(scope="module")
def mlflow(running_mlflow: MlflowServer) -> MlflowServer:
    """A server for the tests of this module that do not stop it; each promotes its own versions."""
    return emptied(running_mlflow)


@pytest.fixture(scope="module")
def watching(mlflow: MlflowServer, serving: list[Path]) -> Iterator[Server]:
    mlflow.promote(serving[0])
    with serve(mlflow, SENTIMENT_POLL_SECONDS="0.2") as server:
        yield server


def version(server: Server) -> str:
    return str(server.classify(["good"]).json()[0]["model_version"])


def workers(server: Server, version: str) -> float:
    return server.metric(f'sentiment_model_workers{{model_version="{version}"')


def test_a_promotion_and_a_rollback_under_load(
    mlflow: MlflowServer, watching: Server, serving: list[Path]
) -> None:
    old, swaps = version(watching), watching.metric("sentiment_model_swaps_total")
    clients = Clients(watching)
    try:
        new = mlflow.promote(serving[1])
        wait_for(lambda: version(watching) == new, "the promotion")
        promoted = time.monotonic()
        mlflow.client.set_registered_model_alias("sentiment", "champion", old)
        wait_for(lambda: version(watching) == old, "the rollback")
        rolled_back = time.monotonic()
        time.sleep(0.5)
    finally:
        clients.stop()
    assert set(clients.statuses) == {200}
    assert len(clients.statuses) > 10 * CLIENTS
    assert {answer for sent, answer in clients.versions if sent < promoted} == {old, new}
    assert {answer for sent, answer in clients.versions if sent > rolled_back} == {old}
    assert watching.metric("sentiment_model_swaps_total") == swaps + 2
    assert (workers(watching, old), workers(watching, new)) == (1, 0)
    assert watching.metric('sentiment_device_workers{device="cpu"}') == 1
    assert f"version {new} has replaced version {old}" in watching.log.read_text()


def test_a_removed_alias_is_no_outage(mlflow: MlflowServer, watching: Server) -> None:
    old = version(watching)
    mlflow.client.delete_registered_model_alias("sentiment", "champion")
    wait_for(lambda: "no version of 'sentiment' is champion" in watching.log.read_text(), "the log line")
    time.sleep(0.5)  # some polls
    assert watching.metric("sentiment_registry_reachable") == 1
    assert version(watching) == old
    assert watching.log.read_text().count("no version of 'sentiment' is champion") == 1
    mlflow.client.set_registered_model_alias("sentiment", "champion", old)


def test_a_broken_champion_is_rejected_and_the_next_one_served(
    mlflow: MlflowServer, watching: Server, serving: list[Path], tmp_path: Path
) -> None:
    """Its files match the registered checksum, but are no model. A restart rejects it too.

    The restarted server shares BENTOML_HOME, so its start removes the gauges of the first.
    """
    old = version(watching)
    for file in serving[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:100])
    broken = mlflow.promote(tmp_path)
    refusals = f'sentiment_model_refusals_total{{model_version="{broken}"}}'
    wait_for(lambda: watching.metric(refusals) >= 2, "the rejection, and another one some polls later")
    assert version(watching) == old
    assert watching.log.read_text().count(f"champion {broken} is rejected") == 1

    with serve(mlflow, SENTIMENT_POLL_SECONDS="0") as restarted:
        assert version(restarted) == old
        assert f"version {broken} cannot be loaded" in restarted.log.read_text()

    new = mlflow.promote(serving[2])
    wait_for(lambda: version(watching) == new, "the promotion")


def test_a_champion_with_other_weights_than_registered_is_rejected(
    mlflow: MlflowServer, watching: Server, serving: list[Path]
) -> None:
    old, wrong = version(watching), register(mlflow.client, serving[1])
    mlflow.client.set_model_version_tag("sentiment", wrong, "weights_sha256", "0" * 64)
    mlflow.client.set_registered_model_alias("sentiment", "champion", wrong)
    wait_for(lambda: f"champion {wrong} is rejected" in watching.log.read_text(), "the rejection")
    assert "the sha256 of its model.bin" in watching.log.read_text()
    assert version(watching) == old


def test_workers_agree_and_a_killed_one_is_not_counted(mlflow: MlflowServer, serving: list[Path]) -> None:
    old = mlflow.promote(serving[0])
    with serve(mlflow, SENTIMENT_POLL_SECONDS="0.2", SENTIMENT_WORKERS="2") as server:
        wait_for(lambda: workers(server, old) == 2, "the start of both workers")
        new = mlflow.promote(serving[1])
        wait_for(lambda: workers(server, new) == 2, "the promotion")
        assert workers(server, old) == 0
        assert server.metric("sentiment_model_swaps_total") == 2

        worker_process(server).kill()
        started = "Service Sentiment initialized"
        wait_for(lambda: server.log.read_text().count(started) == 3, "the start of the replacement")
        assert workers(server, new) == 2
        assert server.metric("sentiment_registry_reachable") == 1


def worker_process(server: Server) -> psutil.Process:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(child for child in children if "_bentoml_impl.worker.service" in child.cmdline())


def test_without_mlflow_the_champion_stays_and_so_do_the_metrics(
    own_mlflow_server: MlflowServer, serving: list[Path]
) -> None:
    """MLflow first hangs, then dies. Promotions from before the start are counted too."""
    mlflow = own_mlflow_server
    first = mlflow.promote(serving[0])
    for outcome in ("promoted", "refused", "refused"):
        add(mlflow.client, Plan("", first, "a test"), outcome)
    started = time.time()
    with serve(mlflow, SENTIMENT_POLL_SECONDS="0.1") as server:
        wait_for(lambda: server.metric('sentiment_promotions{outcome="refused"}') == 2, "the count")
        assert server.metric('sentiment_promotions{outcome="promoted"}') == 1
        pending = add(mlflow.client, Plan(first, first, "a test"), PENDING, lease_seconds=60)
        end(mlflow.client, pending.number, "rolled_back")
        wait_for(lambda: server.metric('sentiment_promotions{outcome="rolled_back"}') == 1, "the rollback")
        last = server.metric('sentiment_promotion_last_seconds{outcome="rolled_back"}')
        assert started <= last <= time.time()
        assert server.metric("sentiment_registry_reachable") == 1

        parent = psutil.Process(mlflow.process.pid)
        processes = [parent, *parent.children(recursive=True)]
        for process in processes:
            process.suspend()
        time.sleep(0.5)
        assert version(server) == "1"
        for process in processes:
            process.kill()
        wait_for(lambda: "Still serving version 1" in server.log.read_text(), "the log line")
        wait_for(lambda: server.metric("sentiment_registry_reachable") == 0, "the metric")
        time.sleep(0.5)  # five polls
        assert version(server) == "1"
        assert server.log.read_text().count("Still serving version 1") == 1, "one line per outage"
        assert server.metric('sentiment_promotions{outcome="refused"}') == 2, "the last known value"
        stopping = time.monotonic()
        server.process.terminate()
        server.process.wait(READY_SECONDS)
        assert time.monotonic() - stopping < 20


def test_a_database_is_not_watched(server: Server) -> None:
    wait_for(lambda: "is a database, which is not polled" in server.log.read_text(), "the log line")
