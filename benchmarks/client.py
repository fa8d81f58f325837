"""Clients of the Bento that wait for their answers, and what those come to."""

import asyncio
import csv
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.load import percentile
from benchmarks.serving.processes import HOST

CLIENTS = 32
KEEP_SECONDS = 3
"""The Bento closes a connection that is idle for five."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    """What came back of one request; status 0 is a broken or refused connection. Times in seconds."""

    sent: float
    seconds: float
    status: int
    headers: bytes = b""
    body: bytes = b""


@dataclass
class Client:
    """As little Python around a socket as will do, as it shares the machine with what it measures."""

    port: int
    idle: list[tuple[float, Connection]] = field(default_factory=list)

    async def ask(self, text: str) -> Answer:
        body = json.dumps({"texts": [text]}).encode()
        sent = time.perf_counter()
        try:
            reader, writer = connection = await self._connect()
            writer.write(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            headers = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(headers.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            content = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return Answer(sent, time.perf_counter() - sent, 0)
        self.idle.append((time.perf_counter(), connection))
        return Answer(sent, time.perf_counter() - sent, int(headers[9:12]), headers, content)

    async def _connect(self) -> Connection:
        while self.idle:
            since, connection = self.idle.pop()
            if time.perf_counter() - since < KEEP_SECONDS:
                return connection
            connection[1].close()
        return await asyncio.open_connection(HOST, self.port)


def endless(path: Path, words: int) -> Iterator[str]:
    """Texts of about so many words (0: as they are), none of them twice."""
    with path.open(encoding="utf-8", newline="") as file:
        snippets = [row["text"] for row in csv.DictReader(file)]
    for number, start in enumerate(itertools.count()):
        chosen = (snippets[(start + offset) % len(snippets)] for offset in itertools.count())
        text = next(chosen)
        while len(text.split()) < words:
            text += " " + next(chosen)
        yield f"{number} {text}"


async def closed_loop(
    client: Client, texts: Iterator[str], clients: int, stopped: asyncio.Event
) -> list[Answer]:
    """So many clients that send their next request when the last is answered."""

    async def keep_asking() -> list[Answer]:
        answers = []
        while not stopped.is_set():
            answers.append(await client.ask(next(texts)))
        return answers

    return list(itertools.chain(*await asyncio.gather(*(keep_asking() for _ in range(clients)))))


async def closed_loop_of(
    seconds: float, client: Client, texts: Iterator[str], clients: int = CLIENTS
) -> list[Answer]:
    stopped = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stopped.set)
    return await closed_loop(client, texts, clients, stopped)


def good(answers: list[Answer], after: float, seconds: float) -> float:
    """Good answers a second that came within `seconds` of `after`."""
    came = [a for a in answers if a.status == 200 and after <= a.sent + a.seconds < after + seconds]
    return len(came) / seconds


def milliseconds(answers: list[Answer]) -> dict[str, float]:
    ordered = sorted(answer.seconds * 1000 for answer in answers)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(ordered, share), 1) for name, share in shares.items()}
