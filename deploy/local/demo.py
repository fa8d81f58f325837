"""`make demo`: from raw reviews to answers over HTTP, with the time that each step takes."""

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from deploy.local.load import checked, list_reviews, load_reviews, read_reviews
from deploy.local.settings import Settings, StackError, prepare_settings

STEPS = ("ingest", "repro", "promote", "up")
VALIDATION = Path("results/prepare/validation.csv")
REVIEWS = 500
DEMO_AUTHOR = "make-demo"  # each run replaces this author's review of the run before
TEXT = "A warm, funny and quietly brave film; I left the cinema smiling."


class StepTimer:
    """Seconds per step, in order."""

    def __init__(self, install_seconds: float | None) -> None:
        self.seconds = {} if install_seconds is None else {"install": install_seconds}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        print(f"\n== {name}", flush=True)
        yield
        self.seconds[name] = time.monotonic() - started

    def table(self) -> str:
        rows = [*self.seconds.items(), ("total", sum(self.seconds.values()))]
        return "\n".join(
            [f"{'step':<10} {'seconds':>8}", *(f"{name:<10} {value:8.1f}" for name, value in rows)]
        )


def demo(install_seconds: float | None) -> int:
    """Run every step; return 0, or the exit code of the step that failed."""
    timer = StepTimer(install_seconds)
    for name in STEPS:
        with timer.step(name):
            code = make(name)
        if code:
            print(f"\nmake demo: step `{name}` failed with exit code {code}; fix the error above and rerun")
            return code
    settings = prepare_settings()
    try:
        asyncio.run(use_api(timer, settings))
    except httpx.HTTPError as error:
        raise StackError(
            f"the API at {settings.api_url} does not respond: {error!r}; see `make status`"
        ) from None
    print(f"\n{timer.table()}\n\n{summary(settings)}")
    return 0


def make(target: str) -> int:
    """Run `make target` and return its exit code. On an interrupt, wait for the step to end first."""
    step = subprocess.Popen(["make", "--no-print-directory", target])
    try:
        return step.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            step.wait(timeout=5)  # the terminal sent Ctrl-C to the step as well
        step.terminate()
        step.wait()
        raise


async def use_api(timer: StepTimer, settings: Settings) -> None:
    """Run the two steps that call the API. Raises StackError."""
    reviews = read_reviews(VALIDATION, REVIEWS)
    key = {"Authorization": f"Bearer {settings.api_key}"}
    async with httpx.AsyncClient(
        base_url=settings.api_url, headers=key, timeout=30, trust_env=False
    ) as client:
        with timer.step("load"):
            await load_reviews(client, reviews)
        with timer.step("ask"):
            await create_and_analyze(client, movie=reviews[0][0])


async def create_and_analyze(client: httpx.AsyncClient, movie: str) -> None:
    """Create a review and analyze its text; print the requests and responses."""
    earlier = [item["id"] async for item in list_reviews(client, movie) if item["author"] == DEMO_AUTHOR]
    for review_id in earlier:
        checked(await client.delete(f"/api/reviews/{review_id}"))
    review = {"movie_id": movie, "author": DEMO_AUTHOR, "text": TEXT, "rating": 9}
    show(await client.post("/api/reviews", json=review))
    show(await client.post("/api/analyze", json={"text": TEXT}))


def show(response: httpx.Response) -> None:
    """Print a request and its response. Raises StackError for an error response."""
    request = response.request
    print(f"{request.method} {request.url.path} {request.content.decode()}")
    print(f"-> {response.status_code} {json.dumps(checked(response).json(), indent=2, ensure_ascii=False)}")


def summary(settings: Settings) -> str:
    return (
        f"API      {settings.api_url}/docs\n"
        f"MLflow   {settings.mlflow_url}\n"
        f"Bento    {settings.bento_url}\n\n"
        "The stack keeps running. `make status` shows it; `make down` stops it and keeps the data."
    )
