"""Kill each container of a running Compose stack in turn, while clients send requests.

Run it as root: Docker restarts a container after a crash but not after `docker kill`, so the container's main
process is killed from the host. Prints a JSON object for each container, and one with the lost reviews.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks import command
from deploy.backup import compose

SERVICES = ("postgres", "mlflow", "bento", "api", "worker")

PAUSE_SECONDS = 0.25
"""Between the requests of one client, so that the clients leave the processor to the recovery."""

STABLE_SECONDS = 5
"""An outage is over after this time without a failed request."""

RECOVERY_SECONDS = 300


@dataclass(frozen=True)
class Result:
    """The end of one request: its time, and its status or the name of the error."""

    time: float
    outcome: str

    @property
    def failed(self) -> bool:
        return self.outcome not in ("200", "201")


@dataclass
class Clients:
    """One client for each kind of request. It sends the next request shortly after the previous response."""

    api: httpx.AsyncClient
    mlflow: httpx.AsyncClient
    movie: str = field(default_factory=lambda: f"outages-{uuid.uuid4().hex[:8]}")
    results: dict[str, list[Result]] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Texts of the stored reviews by id, in the order of writing."""

    async def run(self) -> None:
        kinds = (self.write, self.read, self.analyze, self.registry)
        await asyncio.gather(*(self._send_requests(kind.__name__, kind) for kind in kinds))

    async def _send_requests(self, kind: str, send: Callable[[int], Awaitable[httpx.Response]]) -> None:
        results = self.results.setdefault(kind, [])
        for number in itertools.count():
            try:
                outcome = str((await send(number)).status_code)
            except httpx.TransportError as error:
                outcome = type(error).__name__
            results.append(Result(time.monotonic(), outcome))
            await asyncio.sleep(PAUSE_SECONDS)

    async def write(self, number: int) -> httpx.Response:
        review = {"movie_id": self.movie, "author": "Ada", "text": f"Warm, funny and brave: {number}."}
        response = await self.api.post("/api/reviews", json=review)
        if response.status_code == 201:
            self.acknowledged[response.json()["id"]] = review["text"]
        return response

    async def read(self, number: int) -> httpx.Response:
        return await self.api.get(f"/api/reviews/{self.movie}", params={"limit": "1"})

    async def analyze(self, number: int) -> httpx.Response:
        return await self.api.post("/api/analyze", json={"text": f"A triumph, {number} times."})

    async def registry(self, number: int) -> httpx.Response:
        champion = {"name": "sentiment", "alias": "champion"}
        return await self.mlflow.get("/api/2.0/mlflow/registered-models/alias", params=champion)

    async def stored(self) -> dict[str, dict[str, Any]]:
        """Return all reviews of this run's movie by id."""
        found: dict[str, dict[str, Any]] = {}
        query = {"limit": "100"}
        while True:
            response = await self.api.get(f"/api/reviews/{self.movie}", params=query)
            page = response.raise_for_status().json()
            found |= {item["id"]: item for item in page["items"]}
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    async def next_sentiment(self) -> float:
        """Wait until the next review that is written has its sentiment. Returns the time."""
        known = len(self.acknowledged)
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            for review in itertools.islice(self.acknowledged, known, known + 1):
                try:
                    response = await self.api.get(f"/api/reviews/{self.movie}/{review}")
                except httpx.TransportError:
                    continue
                if response.status_code == 200 and response.json()["sentiment"]:
                    return time.monotonic()

    async def stable(self) -> None:
        """Wait until no request of any kind has failed for STABLE_SECONDS."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            since = time.monotonic() - STABLE_SECONDS
            recent = [[r.failed for r in results if r.time > since] for results in self.results.values()]
            if all(failed and not any(failed) for failed in recent):
                return


def container(service: str) -> str:
    """Return the id of the service's only container."""
    words = [*compose.command(), "ps", "-q", service]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def state(name: str) -> dict[str, Any]:
    words = ["docker", "inspect", "--format", "{{json .State}}", name]
    found: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return found


async def healthy(name: str, killed: int) -> float:
    """Wait until the container is healthy with another process than `killed`. Returns the time."""
    while True:
        now = await asyncio.to_thread(state, name)
        if now["Pid"] not in (0, killed) and now["Health"]["Status"] == "healthy":
            return time.monotonic()
        await asyncio.sleep(PAUSE_SECONDS)


async def kill(clients: Clients, service: str) -> dict[str, object]:
    """Kill the container and wait for the recovery. Returns the durations and the failed requests."""
    name = container(service)
    pid = state(name)["Pid"]
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(RECOVERY_SECONDS):
        healthy_at, sentiment_at = await asyncio.gather(healthy(name, pid), clients.next_sentiment())
        await clients.stable()
    since = {
        kind: [result for result in results if result.time > killed]
        for kind, results in clients.results.items()
    }
    return {
        "killed": service,
        "healthy_seconds": round(healthy_at - killed, 1),
        "recovery_seconds": {kind: recovery_seconds(results, killed) for kind, results in since.items()},
        "sentiment_seconds": round(sentiment_at - killed, 1),
        "failed": {kind: Counter(r.outcome for r in results if r.failed) for kind, results in since.items()},
        "requests": {kind: len(results) for kind, results in since.items()},
    }


def recovery_seconds(results: list[Result], killed: float) -> float:
    """Return the seconds until the first response after the last failure, or 0 if none failed."""
    last = max((number for number, result in enumerate(results) if result.failed), default=None)
    return 0.0 if last is None else round(results[last + 1].time - killed, 1)


async def measure(options: argparse.Namespace) -> int:
    """Return 0 if every acknowledged review is stored unchanged and has its sentiment, else 1."""
    key = {"Authorization": f"Bearer {os.environ['API_KEY']}"}
    login = ("admin", os.environ["MLFLOW_TRACKING_PASSWORD"])
    async with (
        httpx.AsyncClient(base_url=options.api, headers=key, timeout=30, trust_env=False) as api,
        httpx.AsyncClient(base_url=options.mlflow, auth=login, timeout=30, trust_env=False) as mlflow,
    ):
        clients = Clients(api, mlflow)
        load = asyncio.create_task(clients.run())
        await asyncio.sleep(STABLE_SECONDS)
        for service in options.services:
            print(json.dumps(await kill(clients, service)), flush=True)
        load.cancel()
        await asyncio.sleep(STABLE_SECONDS)
        stored = await clients.stored()
    written = clients.acknowledged
    lost = sum(name not in stored or stored[name]["text"] != text for name, text in written.items())
    without_sentiment = sum(review["sentiment"] is None for review in stored.values())
    counts = {
        "movie": clients.movie,
        "acknowledged": len(written),
        "stored": len(stored),
        "lost": lost,
        "without_sentiment": without_sentiment,
    }
    print(json.dumps(counts))
    return 1 if lost or without_sentiment else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outages", description=__doc__)
    parser.add_argument("--api", default="http://127.0.0.1:8000", help="URL of the API; default %(default)s")
    parser.add_argument(
        "--mlflow", default="http://127.0.0.1:5000", help="URL of MLflow; default %(default)s"
    )
    parser.add_argument(
        "services", nargs="*", default=SERVICES, help=f"services to kill; default: {', '.join(SERVICES)}"
    )
    options = parser.parse_args()
    for name in ("API_KEY", "MLFLOW_TRACKING_PASSWORD"):
        if name not in os.environ:
            parser.error(f"the variable {name} is not set: export $(grep ^{name}= .env)")
    return asyncio.run(measure(options))


if __name__ == "__main__":
    command.run(main)
