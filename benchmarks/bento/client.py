"""An HTTP client for load tests of the Bento, closed-loop load, and the evaluation of its responses."""

import asyncio
import csv
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.latency import latency_summary
from benchmarks.processes import HOST

CLIENTS = 32
KEEP_ALIVE_SECONDS = 3
"""Less than the five seconds after which the Bento closes an idle connection."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Response:
    """The response to one request; status 0 is a failed connection. Times are in seconds."""

    sent_at: float
    latency: float
    status: int
    headers: bytes = b""
    body: bytes = b""


@dataclass
class Client:
    """A minimal client with keep-alive: the Bento runs on the same cores, so it should use little of them."""

    port: int
    idle: list[tuple[float, Connection]] = field(default_factory=list)

    async def classify(self, text: str) -> Response:
        body = json.dumps({"texts": [text]}).encode()
        sent_at = time.perf_counter()
        try:
            reader, writer = connection = await self._connect()
            writer.write(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            headers = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(headers.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            content = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return Response(sent_at, time.perf_counter() - sent_at, 0)
        self.idle.append((time.perf_counter(), connection))
        return Response(sent_at, time.perf_counter() - sent_at, int(headers[9:12]), headers, content)

    async def _connect(self) -> Connection:
        while self.idle:
            since, connection = self.idle.pop()
            if time.perf_counter() - since < KEEP_ALIVE_SECONDS:
                return connection
            connection[1].close()
        return await asyncio.open_connection(HOST, self.port)


def unique_texts(validation: Path, words: int) -> Iterator[str]:
    """Yield texts without end, none of them twice. They are joined until they have at least `words` words."""
    with validation.open(encoding="utf-8", newline="") as file:
        snippets = [row["text"] for row in csv.DictReader(file)]
    for number in itertools.count():
        following = (snippets[(number + offset) % len(snippets)] for offset in itertools.count())
        text = next(following)
        while len(text.split()) < words:
            text += " " + next(following)
        yield f"{number} {text}"


async def closed_loop(
    client: Client, texts: Iterator[str], clients: int, stopped: asyncio.Event
) -> list[Response]:
    """Run clients that send a request as soon as the previous one is answered, until `stopped` is set."""

    async def send_requests() -> list[Response]:
        responses = []
        while not stopped.is_set():
            responses.append(await client.classify(next(texts)))
        return responses

    return list(itertools.chain(*await asyncio.gather(*(send_requests() for _ in range(clients)))))


def goodput(responses: list[Response], start: float, seconds: float) -> float:
    """Return the responses with status 200 per second that came within `seconds` from `start`."""
    good = [r for r in responses if r.status == 200 and start <= r.sent_at + r.latency < start + seconds]
    return len(good) / seconds


def latency_ms(responses: Iterable[Response]) -> dict[str, float]:
    return latency_summary(response.latency for response in responses)
