"""The requests whose latency is measured, and a client that sends them one at a time."""

import contextlib
import http.client
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from api.cursor import ReviewCursor
from benchmarks.command import BenchmarkError
from benchmarks.processes import HOST

PAGE_SIZE = 20
POPULAR = 20
ORDINARY_REVIEWS = (50, 200)
"""Reviews of an ordinary movie. A small database has such movies too."""

SAMPLE = 1000
NEW_MOVIES = 1000
"""Created reviews belong to movies that were not loaded, so that the loaded movies do not change."""

KEY = f"mrs_{'0' * 16}_{'0' * 64}"
"""An admin's key, since the loaded reviews have no owner. The databases listen on loopback only."""

HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}


class Request(NamedTuple):
    method: str
    path: str
    body: dict[str, object] | None = None


@dataclass(frozen=True)
class Sample:
    """The parts of a database that queries refer to."""

    popular: list[str]  # movies with the most reviews
    ordinary: list[str]  # movies
    middle_pages: list[str]  # paths, one for each popular movie
    review_ids: list[str]  # of ordinary movies


async def take_sample(url: str) -> Sample:
    """Read a sample from the database. Raises BenchmarkError if it is too small to have ordinary movies."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT movie_id FROM movie WHERE movie_id LIKE 'tt%' ORDER BY reviews DESC LIMIT $1", POPULAR
        )
        popular = [row["movie_id"] for row in rows]
        rows = await connection.fetch(
            "SELECT movie_id FROM movie WHERE movie_id LIKE 'tt%' AND reviews BETWEEN $1 AND $2"
            " ORDER BY md5(movie_id) LIMIT $3",
            *ORDINARY_REVIEWS,
            SAMPLE,
        )
        ordinary = [row["movie_id"] for row in rows]
        if not ordinary:
            raise BenchmarkError("no movie has 50 to 200 reviews: use at least 2,000 rows")
        rows = await connection.fetch(
            "SELECT id FROM review WHERE movie_id = ANY($1) ORDER BY md5(id::text) LIMIT $2", ordinary, SAMPLE
        )
        middle_pages = [await middle_page(connection, movie) for movie in popular]
        return Sample(popular, ordinary, middle_pages, [str(row["id"]) for row in rows])
    finally:
        await connection.close()


async def middle_page(connection: asyncpg.Connection, movie: str) -> str:
    """Return the path of the page in the middle of a movie's reviews, without paging up to it."""
    row = await connection.fetchrow(
        """
        SELECT created_at, id FROM review WHERE movie_id = $1 ORDER BY created_at DESC, id DESC
        OFFSET (SELECT reviews / 2 FROM movie WHERE movie_id = $1) LIMIT 1
        """,
        movie,
    )
    cursor = ReviewCursor(row["created_at"], row["id"]).encode(f"{movie}/None")
    return f"{first_page(movie)}&cursor={cursor}"


def first_page(movie: str) -> str:
    return f"/api/reviews/{movie}?limit={PAGE_SIZE}"


def new_review() -> dict[str, object]:
    """Return a review with a random text, so that every update changes something."""
    return {"author": "Ada", "text": f"{random.random()} " + "Warm and funny. " * 30, "rating": 9}


Query = Callable[[Sample], Request]
QUERIES: dict[str, Query] = {
    "Page, popular movie": lambda sample: Request("GET", first_page(random.choice(sample.popular))),
    "Page, ordinary movie": lambda sample: Request("GET", first_page(random.choice(sample.ordinary))),
    "Page in the middle of many": lambda sample: Request("GET", random.choice(sample.middle_pages)),
    "Create": lambda _: Request(
        "POST", "/api/reviews", new_review() | {"movie_id": f"new-{random.randrange(NEW_MOVIES)}"}
    ),
    "Update": lambda sample: Request("PUT", f"/api/reviews/{random.choice(sample.review_ids)}", new_review()),
    "Summary, popular movie": lambda sample: Request("GET", f"/api/movies/{random.choice(sample.popular)}"),
    "Summary, ordinary movie": lambda sample: Request("GET", f"/api/movies/{random.choice(sample.ordinary)}"),
    "Movies": lambda _: Request("GET", f"/api/movies?limit={PAGE_SIZE}"),
}


class Client:
    """A client with one keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)

    def send(self, request: Request) -> bytes:
        """Return the body of the response. Raises BenchmarkError unless the status is 2xx."""
        body = None if request.body is None else json.dumps(request.body).encode()
        self._connection.request(request.method, request.path, body, HEADERS)
        response = self._connection.getresponse()
        content = response.read()
        if not 200 <= response.status < 300:
            raise BenchmarkError(f"{request.method} {request.path}: {response.status} {content!r}")
        return content

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def clients(*ports: int) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Client(port))) for port in ports]


def alternate(query: Query, databases: list[tuple[Client, Sample]], seconds: float) -> list[list[float]]:
    """Send a query to each database in turn for `seconds`. Returns the latencies in seconds by database.

    The databases alternate, so that other work on the machine affects all of them.
    """
    latencies: list[list[float]] = [[] for _ in databases]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for own, (client, sample) in zip(latencies, databases, strict=True):
            request = query(sample)
            sent_at = time.perf_counter()
            client.send(request)
            own.append(time.perf_counter() - sent_at)
    return latencies
