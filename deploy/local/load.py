"""Load validation reviews through the API, each once, with bounded concurrency."""

import asyncio
import csv
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

from deploy.local.settings import StackError

AUTHOR = "demo"  # identifies loaded reviews, so that a second run skips them
CONCURRENCY = 16
Item = TypeVar("Item")
Result = TypeVar("Result")


def read_reviews(path: Path, count: int) -> list[tuple[str, str]]:
    """Return up to `count` pairs (movie_id, text), most reviewed movies first.

    Raises StackError if the file is missing.
    """
    if not path.exists():
        raise StackError(f"{path} is missing: run `make repro`")
    with path.open(newline="", encoding="utf-8") as file:
        # A dict keeps the order and drops duplicates, which would be created once but counted twice.
        rows = list(dict.fromkeys((row["movie_id"], row["text"].strip()) for row in csv.DictReader(file)))
    reviews = Counter(movie for movie, _ in rows)
    rows.sort(key=lambda row: (-reviews[row[0]], row))
    return rows[:count]


async def load_reviews(client: httpx.AsyncClient, reviews: list[tuple[str, str]]) -> int:
    """Create the reviews that are missing and return how many. Raises StackError."""
    movies = sorted({movie for movie, _ in reviews})
    loaded = await map_concurrently(movies, lambda movie: loaded_reviews(client, movie), "movies checked")
    missing = sorted(set(reviews) - set().union(*loaded))
    print(f"{len(reviews) - len(missing)} of {len(reviews)} reviews were loaded before")
    await map_concurrently(missing, lambda review: create_review(client, *review), "reviews loaded")
    return len(missing)


async def map_concurrently(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], unit: str
) -> list[Result]:
    """Apply `work` to `CONCURRENCY` items at a time. Return results in order, or raise the first error."""
    gate = asyncio.Semaphore(CONCURRENCY)
    done = 0

    async def run(item: Item) -> Result:
        nonlocal done
        async with gate:
            result = await work(item)
        done += 1
        if sys.stdout.isatty():
            print(f"\r{done}/{len(items)} {unit}", end="", flush=True)
        return result

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(item)) for item in items]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    print(f"\r{done} {unit}          ")
    return [task.result() for task in tasks]


async def loaded_reviews(client: httpx.AsyncClient, movie: str) -> set[tuple[str, str]]:
    """Return (movie_id, text) of the reviews of a movie that an earlier run loaded."""
    return {(movie, item["text"]) async for item in list_reviews(client, movie) if item["author"] == AUTHOR}


async def list_reviews(client: httpx.AsyncClient, movie: str) -> AsyncIterator[dict[str, Any]]:
    """Yield every review of a movie, page by page."""
    query = {"limit": "100"}
    while True:
        page = checked(await client.get(f"/api/reviews/{movie}", params=query)).json()
        for item in page["items"]:
            yield item
        if not page["next_cursor"]:
            return
        query["cursor"] = page["next_cursor"]


async def create_review(client: httpx.AsyncClient, movie: str, text: str) -> None:
    review = {"movie_id": movie, "author": AUTHOR, "text": text, "rating": None}
    checked(await client.post("/api/reviews", json=review))


def checked(response: httpx.Response) -> httpx.Response:
    """Return a success response. Raises StackError with the body of any other."""
    if response.is_success:
        return response
    request = response.request
    raise StackError(f"{request.method} {request.url} returned {response.status_code}: {response.text[:500]}")
