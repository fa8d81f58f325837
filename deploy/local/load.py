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

AUTHOR = "demo"  # marks what we loaded, so that a second run finds it
AT_ONCE = 16
Item = TypeVar("Item")
Result = TypeVar("Result")


def read_reviews(path: Path, count: int) -> list[tuple[str, str]]:
    """`count` pairs (movie_id, text) of the most reviewed movies. Raises StackError when there is no file."""
    if not path.exists():
        raise StackError(f"{path} is missing: run `make repro`")
    with path.open(newline="", encoding="utf-8") as file:
        # A dict keeps the order and drops repeats, which would be created once and counted twice.
        rows = list(dict.fromkeys((row["movie_id"], row["text"].strip()) for row in csv.DictReader(file)))
    reviews = Counter(movie for movie, _ in rows)
    rows.sort(key=lambda row: (-reviews[row[0]], row))
    return rows[:count]


async def load(client: httpx.AsyncClient, reviews: list[tuple[str, str]]) -> int:
    """Create the reviews that are not there yet; returns how many. Raises StackError."""
    movies = sorted({movie for movie, _ in reviews})
    known = await each(movies, lambda movie: loaded(client, movie), "movies checked")
    missing = sorted(set(reviews) - set().union(*known))
    print(f"{len(reviews) - len(missing)} of {len(reviews)} reviews were loaded before")
    await each(missing, lambda review: create(client, *review), "reviews loaded")
    return len(missing)


async def each(items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], what: str) -> list[Result]:
    """The results of `work` on every item, in order, `AT_ONCE` at a time. The first failure ends it."""
    gate = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def one(item: Item) -> Result:
        nonlocal done
        async with gate:
            result = await work(item)
        done += 1
        if sys.stdout.isatty():
            print(f"\r{done}/{len(items)} {what}", end="", flush=True)
        return result

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    print(f"\r{done} {what}          ")
    return [task.result() for task in tasks]


async def loaded(client: httpx.AsyncClient, movie: str) -> set[tuple[str, str]]:
    """The (movie_id, text) of a movie's reviews that we loaded."""
    return {(movie, item["text"]) async for item in listed(client, movie) if item["author"] == AUTHOR}


async def listed(client: httpx.AsyncClient, movie: str) -> AsyncIterator[dict[str, Any]]:
    """Every review of a movie, page by page."""
    words = {"limit": "100"}
    while True:
        page = checked(await client.get(f"/api/reviews/{movie}", params=words)).json()
        for item in page["items"]:
            yield item
        if not page["next_cursor"]:
            return
        words["cursor"] = page["next_cursor"]


async def create(client: httpx.AsyncClient, movie: str, text: str) -> None:
    review = {"movie_id": movie, "author": AUTHOR, "text": text, "rating": None}
    checked(await client.post("/api/reviews", json=review))


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, or StackError with what the API said."""
    if answer.is_success:
        return answer
    request = answer.request
    raise StackError(f"{request.method} {request.url} answered {answer.status_code}: {answer.text[:500]}")
