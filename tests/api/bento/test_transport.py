"""A server on a real port that ends its connections as servers do."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from api.errors import UnavailableError
from tests.api.bento.test_client import GOOD, connected

Answer = Callable[[asyncio.StreamWriter], None]


def good(writer: asyncio.StreamWriter) -> None:
    body = json.dumps([GOOD]).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def close(writer: asyncio.StreamWriter) -> None:
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


def break_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")
    writer.close()


@dataclass
class Server:
    url: str
    connections: int = 0
    requests: int = 0


@asynccontextmanager
async def server(*answers: Answer) -> AsyncIterator[Server]:
    """Does to the first, second... request of each connection what `answers` say, in turn."""
    found = Server("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        for answer in answers:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            found.requests += 1
            answer(writer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.url = "http://{}:{}".format(*listening.sockets[0].getsockname())
    async with listening:
        yield found


@pytest.mark.parametrize("end", [close, reset])
async def test_a_kept_connection_that_was_closed_costs_no_caller_an_error(end: Answer) -> None:
    async with server(good, end) as bento, connected(bento_url=bento.url) as client:
        for _ in range(3):
            assert await client.classify(["x"])
    assert (bento.connections, bento.requests) == (3, 5)


@pytest.mark.parametrize("end", [close, reset])
async def test_who_hangs_up_on_a_new_connection_is_not_asked_again(end: Answer) -> None:
    async with server(end) as bento, connected(bento_url=bento.url) as client:
        with pytest.raises(UnavailableError):
            await client.classify(["x"])
    assert bento.requests == 1


async def test_an_answer_that_breaks_off_is_not_asked_for_again() -> None:
    async with server(good, break_off) as bento, connected(bento_url=bento.url) as client:
        await client.classify(["x"])
        with pytest.raises(UnavailableError):
            await client.classify(["x"])
    assert bento.requests == 2
