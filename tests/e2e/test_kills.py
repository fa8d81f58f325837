"""kill -9 of each service in turn, while clients write: no acknowledged review is lost or stays unread."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, Self

import httpx
import psutil

from deploy.local.processes import ours
from tests.deploy.stack import Stack, wait_for
from tests.e2e.conftest import connect

MOVIE = "written-under-fire"
SERVICES = ("api", "worker", "bento", "postgres", "mlflow")
WRITERS, PAUSE = 4, 0.25
"""At most 16 reviews a second: the machine is to be busy with the recovery, not with us."""

MOST = 500
"""Reviews of one writer, however long the recovery takes."""


class Writers:
    """Clients that write one review after another, each as often as it takes to be acknowledged."""

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
            for number in range(MOST):
                self._insist(client, f"{writer}-{number}")
                if self._stopping.wait(PAUSE):
                    return

    def _insist(self, client: httpx.Client, name: str) -> None:
        review = {"movie_id": MOVIE, "author": "Ada", "text": f"Warm, funny and brave: {name}."}
        while True:
            try:
                answer = client.post("/api/reviews", json=review, headers={"Idempotency-Key": name})
            except httpx.TransportError as error:
                self.refused[type(error).__name__] += 1
            else:
                if answer.status_code == 201:
                    return self.acknowledged.append(answer.json())
                self.refused[str(answer.status_code)] += 1
            if self._stopping.wait(PAUSE):
                return None

    def wait_for_more(self, count: int) -> None:
        enough = len(self.acknowledged) + count
        wait_for(lambda: len(self.acknowledged) >= enough, seconds=60)


def test_no_acknowledged_review_is_lost_and_none_stays_without_sentiment(stack: Stack) -> None:
    with Writers(stack) as writers:
        for service in SERVICES:
            writers.wait_for_more(10)
            kill(stack, service)
            wait_for(lambda: serves(stack), seconds=90)
            print(
                f"\nkilled {service}: {len(writers.acknowledged)} acknowledged, {dict(writers.refused)}",
                end="",
            )
        writers.wait_for_more(10)
    with contextlib.suppress(AssertionError):  # the count below says how many
        wait_for(lambda: all(found["sentiment"] for found in listed(stack)), seconds=90)
    found = {review["id"]: review for review in listed(stack)}
    kept = [found.get(review["id"]) for review in writers.acknowledged]
    lost = [now for now, was in zip(kept, writers.acknowledged, strict=True) if not is_same(now, was)]
    twice = len(found) - len({review["text"] for review in found.values()})
    unread = [review for review in found.values() if not review["sentiment"]]
    print(
        f"\nacknowledged {len(writers.acknowledged)}, lost {len(lost)}, twice {twice}, "
        f"without sentiment {len(unread)}"
    )
    assert (lost, twice, unread) == ([], 0, [])
    statuses = {reason for reason in writers.refused if reason.isdecimal()}
    assert statuses <= {"503"}, "whoever is told anything is told to come again"


def kill(stack: Stack, service: str) -> None:
    """kill -9 of all processes of a service, and wait until it has another one."""
    killed = stack.pid(service)
    for process in ours(stack.var, service):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: stack.pid(service) not in (0, killed), seconds=30)


def serves(stack: Stack) -> bool:
    """Whether reviews, the model and MLflow answer."""
    with contextlib.suppress(httpx.TransportError), connect(stack) as client:
        answers = (
            client.get(f"/api/reviews/{MOVIE}"),
            client.post("/api/analyze", json={"text": "Fine."}),
            httpx.get(stack.url("MLFLOW_PORT", "/health"), trust_env=False),
        )
        return all(answer.status_code == 200 for answer in answers)
    return False


def listed(stack: Stack) -> Iterator[dict[str, Any]]:
    """Every review that was written here."""
    query = {"limit": "100"}
    with connect(stack) as client:
        while True:
            page = client.get(f"/api/reviews/{MOVIE}", params=query).raise_for_status().json()
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]


def is_same(now: dict[str, Any] | None, was: dict[str, Any]) -> bool:
    """Whether it is there as it was acknowledged; the model may have read it since."""
    return now is not None and now | {"sentiment": None} == was | {"sentiment": None}
