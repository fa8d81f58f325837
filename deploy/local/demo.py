"""`make demo`: the whole way from raw reviews to an answer over HTTP, with the time that each step took."""

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from deploy.local.load import checked, listed, load, read_reviews
from deploy.local.settings import Settings, StackError, prepare_settings

STEPS = ("ingest", "repro", "promote", "up")
VALIDATION = Path("results/prepare/validation.csv")
REVIEWS = 500
VISITOR = "make-demo"  # writes one review per run, in place of the one of the run before
TEXT = "A warm, funny and quietly brave film; I left the cinema smiling."


class Clock:
    """Seconds per step, in order."""

    def __init__(self, install_seconds: float | None) -> None:
        self.seconds = {} if install_seconds is None else {"install": install_seconds}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        print(f"\n== {name}", flush=True)
        yield
        self.seconds[name] = time.monotonic() - began

    def table(self) -> str:
        rows = [*self.seconds.items(), ("total", sum(self.seconds.values()))]
        return "\n".join(
            [f"{'step':<10} {'seconds':>8}", *(f"{name:<10} {value:8.1f}" for name, value in rows)]
        )


def demo(install_seconds: float | None) -> int:
    """Run every step; returns 0, or the exit code of the step that failed."""
    clock = Clock(install_seconds)
    for name in STEPS:
        with clock.step(name):
            code = make(name)
        if code:
            print(f"\nmake demo: the step `{name}` failed with exit code {code}; see above. Again: make demo")
            return code
    settings = prepare_settings()
    try:
        asyncio.run(talk(clock, settings))
    except httpx.HTTPError as error:
        raise StackError(
            f"the API at {settings.api_url} does not answer: {error!r}; see `make status`"
        ) from None
    print(f"\n{clock.table()}\n\n{addresses(settings)}")
    return 0


def make(target: str) -> int:
    """`make target`; its exit code. On an interrupt the step ends before we do."""
    step = subprocess.Popen(["make", "--no-print-directory", target])
    try:
        return step.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            step.wait(timeout=5)  # a terminal's Ctrl-C reached it as well
        step.terminate()
        step.wait()
        raise


async def talk(clock: Clock, settings: Settings) -> None:
    """The two steps that use the API. Raises StackError."""
    reviews = read_reviews(VALIDATION, REVIEWS)
    key = {"Authorization": f"Bearer {settings.api_key}"}
    async with httpx.AsyncClient(
        base_url=settings.api_url, headers=key, timeout=30, trust_env=False
    ) as client:
        with clock.step("load"):
            await load(client, reviews)
        with clock.step("ask"):
            await ask(client, movie=reviews[0][0])


async def ask(client: httpx.AsyncClient, movie: str) -> None:
    """Create a review of a movie and analyse its text, showing requests and answers."""
    earlier = [item["id"] async for item in listed(client, movie) if item["author"] == VISITOR]
    for review_id in earlier:
        checked(await client.delete(f"/api/reviews/{review_id}"))
    review = {"movie_id": movie, "author": VISITOR, "text": TEXT, "rating": 9}
    show(await client.post("/api/reviews", json=review))
    show(await client.post("/api/analyze", json={"text": TEXT}))


def show(answer: httpx.Response) -> None:
    """The request and its answer; raises StackError when that is an error."""
    request = answer.request
    print(f"{request.method} {request.url.path} {request.content.decode()}")
    print(f"-> {answer.status_code} {json.dumps(checked(answer).json(), indent=2, ensure_ascii=False)}")


def addresses(settings: Settings) -> str:
    return (
        f"API      {settings.api_url}/docs\n"
        f"MLflow   {settings.mlflow_url}\n"
        f"Bento    {settings.bento_url}\n\n"
        "It runs on. `make status` shows it, `make down` ends it and keeps the data."
    )
