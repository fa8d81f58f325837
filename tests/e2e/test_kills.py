"""SIGKILL each service while clients write: no acknowledged review is lost or stays without a sentiment."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, Self

import httpx
import psutil

from deploy.local.processes import stack_processes
from tests.deploy.stack import Stack, is_alive, wait_for
from tests.e2e.conftest import connect

MOVIE = "written-during-kills"
SERVICES = ("api", "worker", "bento", "postgres", "mlflow")
WRITERS, PAUSE = 4, 0.25
"""At most 16 reviews per second, which leaves the machine to the recovery."""

MAX_REVIEWS = 500
"""Per writer, even if the recovery takes long."""


class Writers:
    """Clients that write reviews one after another, retrying each until it is acknowledged."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.acknowledged: list[dict[str, Any]] = []
        self.refused: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int) -> None:
        with connect(self._stack) as client:
            for number in range(MAX_REVIEWS):
                self._write_review(client, f"{writer}-{number}")
                if self._stopping.wait(PAUSE):
                    return

    def _write_review(self, client: httpx.Client, name: str) -> None:
        review = {"movie_id": MOVIE, "author": "Ada", "text": f"Warm, funny and brave: {name}."}
        while True:
            try:
                response = client.post("/api/reviews", json=review, headers={"Idempotency-Key": name})
            except httpx.TransportError as error:
                self.refused[type(error).__name__] += 1
            else:
                if response.status_code == 201:
                    return self.acknowledged.append(response.json())
                self.refused[str(response.status_code)] += 1
            if self._stopping.wait(PAUSE):
                return None

    def wait_for_more(self, count: int) -> None:
        target = len(self.acknowledged) + count
        wait_for(lambda: len(self.acknowledged) >= target)


def test_acknowledged_reviews_survive_and_get_a_sentiment(stack: Stack) -> None:
    with Writers(stack) as writers:
        for service in SERVICES:
            writers.wait_for_more(10)
            kill(stack, service)
            wait_for(lambda: is_serving(stack))
            print(
                f"\nkilled {service}: {len(writers.acknowledged)} acknowledged, {dict(writers.refused)}",
                end="",
            )
        writers.wait_for_more(10)
    with contextlib.suppress(AssertionError):  # the assertions below report the count
        wait_for(lambda: all(found["sentiment"] for found in listed(stack)))
    found = {review["id"]: review for review in listed(stack)}
    kept = [found.get(review["id"]) for review in writers.acknowledged]
    lost = [now for now, was in zip(kept, writers.acknowledged, strict=True) if not is_same(now, was)]
    duplicates = len(found) - len({review["text"] for review in found.values()})
    pending = [review for review in found.values() if not review["sentiment"]]
    print(
        f"\nacknowledged {len(writers.acknowledged)}, lost {len(lost)}, duplicates {duplicates}, "
        f"without sentiment {len(pending)}"
    )
    assert (lost, duplicates, pending) == ([], 0, [])
    statuses = {reason for reason in writers.refused if reason.isdecimal()}
    assert statuses <= {"503"}, "the only error response is a retryable one"


def test_mlflow_restarts_when_only_its_parent_is_killed(stack: Stack) -> None:
    """The orphaned worker holds the port and must be stopped before a new one can start."""
    parent = psutil.Process(stack.pid("mlflow"))
    workers = parent.children(recursive=True)
    assert workers
    parent.kill()
    wait_for(lambda: stack.pid("mlflow") not in (0, parent.pid))
    stack.run("up", "mlflow")  # waits until it is healthy
    assert not [worker for worker in workers if is_alive(worker)]


def kill(stack: Stack, service: str) -> None:
    """Send SIGKILL to all processes of a service and wait until supervisor has restarted it."""
    killed = stack.pid(service)
    for process in stack_processes(stack.var, service):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: stack.pid(service) not in (0, killed))


def is_serving(stack: Stack) -> bool:
    """Whether reviews, the model and MLflow respond."""
    with contextlib.suppress(httpx.TransportError), connect(stack) as client:
        responses = (
            client.get(f"/api/reviews/{MOVIE}"),
            client.post("/api/analyze", json={"text": "Fine."}),
            httpx.get(stack.url("MLFLOW_PORT", "/health"), trust_env=False),
        )
        return all(response.status_code == 200 for response in responses)
    return False


def listed(stack: Stack) -> Iterator[dict[str, Any]]:
    """Yield every review that this test wrote."""
    query = {"limit": "100"}
    with connect(stack) as client:
        while True:
            page = client.get(f"/api/reviews/{MOVIE}", params=query).raise_for_status().json()
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]


def is_same(now: dict[str, Any] | None, was: dict[str, Any]) -> bool:
    """Whether a review is stored as acknowledged, apart from its sentiment."""
    return now is not None and now | {"sentiment": None} == was | {"sentiment": None}
