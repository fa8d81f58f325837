"""What clients ask of a store, and how long each answer takes beside one client."""

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
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import HOST

PAGE = 20
POPULAR = 20
ORDINARY = (50, 200)
"""Reviews of a movie that many have heard of: there are such movies in a small store and in a large one."""

SAMPLE = 1000
NEW = 1000
"""Movies that reviews are written of, of which none was loaded: so the others stay as they are."""

KEY = f"mrs_{'0' * 16}_{'0' * 64}"
"""An admin's, since nobody's key wrote what is loaded; of databases on loopback that nobody else uses."""

HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
"""Of what asks one after the other; wrk asks without a key, as readers may."""


class Request(NamedTuple):
    method: str
    path: str
    body: dict[str, object] | None = None


@dataclass(frozen=True)
class Known:
    """What of a store the questions name: movies, by how many reviews they have; cursors; reviews."""

    popular: list[str]
    ordinary: list[str]
    deep: list[str]  # paths of pages amid the popular movies' reviews
    ids: list[str]  # reviews of ordinary movies


async def get_to_know(url: str) -> Known:
    """Raises BenchmarkError when the store is too small to have ordinary movies."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT movie_id FROM movie WHERE movie_id LIKE 'tt%' ORDER BY reviews DESC LIMIT $1", POPULAR
        )
        popular = [row["movie_id"] for row in rows]
        rows = await connection.fetch(
            "SELECT movie_id FROM movie WHERE movie_id LIKE 'tt%' AND reviews BETWEEN $1 AND $2"
            " ORDER BY md5(movie_id) LIMIT $3",
            *ORDINARY,
            SAMPLE,
        )
        ordinary = [row["movie_id"] for row in rows]
        if not ordinary:
            raise BenchmarkError("no movie has 50 to 200 reviews: take at least 2,000 rows")
        rows = await connection.fetch(
            "SELECT id FROM review WHERE movie_id = ANY($1) ORDER BY md5(id::text) LIMIT $2", ordinary, SAMPLE
        )
        deep = [await middle(connection, movie) for movie in popular]
        return Known(popular, ordinary, deep, [str(row["id"]) for row in rows])
    finally:
        await connection.close()


async def middle(connection: asyncpg.Connection, movie: str) -> str:
    """Path of the page that begins amid all reviews of a movie. Paging so far would take thousands."""
    row = await connection.fetchrow(
        """
        SELECT created_at, id FROM review WHERE movie_id = $1 ORDER BY created_at DESC, id DESC
        OFFSET (SELECT reviews / 2 FROM movie WHERE movie_id = $1) LIMIT 1
        """,
        movie,
    )
    return f"{page(movie)}&cursor={ReviewCursor(row['created_at'], row['id']).encode(f'{movie}/None')}"


def page(movie: str) -> str:
    return f"/api/reviews/{movie}?limit={PAGE}"


def written() -> dict[str, object]:
    """A text of its own, so that an update is never a change of nothing."""
    return {"author": "Ada", "text": f"{random.random()} " + "Warm and funny. " * 30, "rating": 9}


Question = Callable[[Known], Request]
QUESTIONS: dict[str, Question] = {
    "list, popular movie": lambda known: Request("GET", page(random.choice(known.popular))),
    "list, ordinary movie": lambda known: Request("GET", page(random.choice(known.ordinary))),
    "list, a page amid": lambda known: Request("GET", random.choice(known.deep)),
    "create": lambda _: Request(
        "POST", "/api/reviews", written() | {"movie_id": f"new-{random.randrange(NEW)}"}
    ),
    "update": lambda known: Request("PUT", f"/api/reviews/{random.choice(known.ids)}", written()),
    "summary, popular movie": lambda known: Request("GET", f"/api/movies/{random.choice(known.popular)}"),
    "summary, ordinary movie": lambda known: Request("GET", f"/api/movies/{random.choice(known.ordinary)}"),
    "movies": lambda _: Request("GET", f"/api/movies?limit={PAGE}"),
}


class Client:
    """One connection, kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)

    def ask(self, request: Request) -> bytes:
        """The answer's body. Raises BenchmarkError when it is not a good one."""
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
    found = [Client(port) for port in ports]
    try:
        yield found
    finally:
        for client in found:
            client.close()


def alternate(question: Question, stores: list[tuple[Client, Known]], seconds: float) -> list[list[float]]:
    """Ask every store in turn for so long; the seconds of each answer, by store.

    In turn, so that whatever else the machine does befalls all of them.
    """
    took: list[list[float]] = [[] for _ in stores]
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for seen, (client, known) in zip(took, stores, strict=True):
            request = question(known)
            began = time.perf_counter()
            client.ask(request)
            seen.append(time.perf_counter() - began)
    return took
