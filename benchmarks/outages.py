"""`python -m benchmarks.outages`: kills each container of a running Compose stack in turn, under clients.

As root: only a container whose first process is killed from outside ends as in a crash, and is started again;
one that `docker kill` ended stays down. Prints a JSON object for each, and one with what was lost.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from deploy.backup.compose import command

SERVICES = ("postgres", "mlflow", "bento", "api", "worker")
PAUSE = 0.25
"""Seconds between requests of one client: the machine is to be busy with the recovery, not with us."""

QUIET = 5
"""Seconds without a failure after which an outage is over."""

PATIENCE = 300
"""Seconds for the stack to recover."""


@dataclass(frozen=True)
class Answer:
    """Of one request: when it came, and a status or the name of an error."""

    came: float
    outcome: str

    @property
    def failed(self) -> bool:
        return self.outcome not in ("200", "201")


@dataclass
class Clients:
    """One for each kind of request, which asks again as soon as it may."""

    api: httpx.AsyncClient
    mlflow: httpx.AsyncClient
    movie: str = field(default_factory=lambda: f"outages-{uuid.uuid4().hex[:8]}")
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """The text of each review, by its id; in the order of writing."""

    async def keep_on(self) -> None:
        kinds = (self.write, self.read, self.analyze, self.registry)
        await asyncio.gather(*(self._keep_asking(kind.__name__, kind) for kind in kinds))

    async def _keep_asking(self, kind: str, ask: Callable[[int], Awaitable[httpx.Response]]) -> None:
        answers = self.answers.setdefault(kind, [])
        for number in itertools.count():
            try:
                outcome = str((await ask(number)).status_code)
            except httpx.TransportError as error:
                outcome = type(error).__name__
            answers.append(Answer(time.monotonic(), outcome))
            await asyncio.sleep(PAUSE)

    async def write(self, number: int) -> httpx.Response:
        review = {"movie_id": self.movie, "author": "Ada", "text": f"Warm, funny and brave: {number}."}
        answer = await self.api.post("/api/reviews", json=review)
        if answer.status_code == 201:
            self.acknowledged[answer.json()["id"]] = review["text"]
        return answer

    async def read(self, number: int) -> httpx.Response:
        return await self.api.get(f"/api/reviews/{self.movie}", params={"limit": "1"})

    async def analyze(self, number: int) -> httpx.Response:
        return await self.api.post("/api/analyze", json={"text": f"A triumph, {number} times."})

    async def registry(self, number: int) -> httpx.Response:
        champion = {"name": "sentiment", "alias": "champion"}
        return await self.mlflow.get("/api/2.0/mlflow/registered-models/alias", params=champion)

    async def stored(self) -> dict[str, dict[str, Any]]:
        """Every review that was written here, by its id."""
        found: dict[str, dict[str, Any]] = {}
        query = {"limit": "100"}
        while True:
            answer = await self.api.get(f"/api/reviews/{self.movie}", params=query)
            page = answer.raise_for_status().json()
            found |= {item["id"]: item for item in page["items"]}
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    async def sentiment_of_the_next(self) -> float:
        """Until a review that is written from now on has been read by the model."""
        known = len(self.acknowledged)
        while True:
            await asyncio.sleep(PAUSE)
            for name in itertools.islice(self.acknowledged, known, known + 1):
                try:
                    answer = await self.api.get(f"/api/reviews/{self.movie}/{name}")
                except httpx.TransportError:
                    continue
                if answer.status_code == 200 and answer.json()["sentiment"]:
                    return time.monotonic()

    async def all_well(self) -> None:
        """Until nothing has failed for a while."""
        while True:
            await asyncio.sleep(PAUSE)
            since = time.monotonic() - QUIET
            recent = [[a.failed for a in answers if a.came > since] for answers in self.answers.values()]
            if all(found and not any(found) for found in recent):
                return


def container(service: str) -> str:
    """The id of the one container of a service."""
    words = [*command(), "ps", "-q", service]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def state(name: str) -> dict[str, Any]:
    words = ["docker", "inspect", "--format", "{{json .State}}", name]
    found: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return found


async def healthy_again(name: str, killed: int) -> float:
    while True:
        now = await asyncio.to_thread(state, name)
        if now["Pid"] not in (0, killed) and now["Health"]["Status"] == "healthy":
            return time.monotonic()
        await asyncio.sleep(PAUSE)


async def outage(clients: Clients, service: str) -> dict[str, object]:
    """Kill it, wait until all is well, and tell how long that took and who was disappointed meanwhile."""
    name = container(service)
    pid = state(name)["Pid"]
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        healthy, read = await asyncio.gather(healthy_again(name, pid), clients.sentiment_of_the_next())
        await clients.all_well()
    since = {
        kind: [answer for answer in answers if answer.came > began]
        for kind, answers in clients.answers.items()
    }
    return {
        "killed": service,
        "healthy_seconds": round(healthy - began, 1),
        "answers_again_seconds": {kind: again(answers, began) for kind, answers in since.items()},
        "sentiment_seconds": round(read - began, 1),
        "failed": {kind: Counter(a.outcome for a in answers if a.failed) for kind, answers in since.items()},
        "asked": {kind: len(answers) for kind, answers in since.items()},
    }


def again(answers: list[Answer], began: float) -> float:
    """Seconds until the answer after the last failure; 0 when there was none."""
    last = max((number for number, answer in enumerate(answers) if answer.failed), default=None)
    return 0.0 if last is None else round(answers[last + 1].came - began, 1)


async def drill(options: argparse.Namespace) -> bool:
    """Whether every acknowledged review is there, once, as it was written, and has its sentiment."""
    key = {"Authorization": f"Bearer {os.environ['API_KEY']}"}
    async with (
        httpx.AsyncClient(base_url=options.api, headers=key, timeout=30, trust_env=False) as api,
        httpx.AsyncClient(base_url=options.mlflow, timeout=30, trust_env=False) as mlflow,
    ):
        clients = Clients(api, mlflow)
        asking = asyncio.create_task(clients.keep_on())
        await asyncio.sleep(QUIET)
        for service in options.services:
            print(json.dumps(await outage(clients, service)), flush=True)
        asking.cancel()
        await asyncio.sleep(QUIET)
        stored = await clients.stored()
    written = clients.acknowledged
    counts = {
        "movie": clients.movie,
        "acknowledged": len(written),
        "stored": len(stored),
        "lost": sum(name not in stored or stored[name]["text"] != text for name, text in written.items()),
        "without_sentiment": sum(review["sentiment"] is None for review in stored.values()),
    }
    print(json.dumps(counts))
    return not counts["lost"] and not counts["without_sentiment"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outages", description=__doc__)
    parser.add_argument("--api", default="http://127.0.0.1:8000", help="default %(default)s")
    parser.add_argument("--mlflow", default="http://127.0.0.1:5000", help="default %(default)s")
    parser.add_argument("services", nargs="*", default=SERVICES, help="default: all that serve")
    options = parser.parse_args()
    if "API_KEY" not in os.environ:
        parser.error("API_KEY is not set: export $(grep ^API_KEY= .env)")
    sys.exit(0 if asyncio.run(drill(options)) else 1)


if __name__ == "__main__":
    main()
