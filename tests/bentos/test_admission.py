"""What the admission control keeps of a request; test_overload.py has its limits, over HTTP."""

import asyncio
import sys

import pytest

from bentos.sentiment.server.admission import Memory, MemoryFullError, replay


async def test_a_body_is_delivered_once_and_not_kept() -> None:
    body = bytes(1000)
    before = sys.getrefcount(body)
    receive = replay(body)
    assert await receive() == {"type": "http.request", "body": body, "more_body": False}
    assert sys.getrefcount(body) == before
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(receive(), 0.05)


def test_a_body_that_does_not_fit_takes_nothing_from_the_others() -> None:
    memory = Memory(10)
    with memory.reservation() as first, memory.reservation() as second:
        first.extend(6)
        with pytest.raises(MemoryFullError):
            second.extend(5)
        second.extend(4)
    with memory.reservation() as third:
        third.extend(10)
