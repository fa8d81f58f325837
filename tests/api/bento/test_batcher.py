"""Coalescing of concurrent calls into few requests."""

import asyncio
import math
import time
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from api.bento.batcher import Batcher
from api.errors import UnavailableError

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


class Model:
    """Returns each text in upper case once `go` is set."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.callers: list[str] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, texts: list[str]) -> list[str]:
        self.sent.append(texts)
        self.callers.append(CALLER.get())
        await self.go.wait()
        if self.error:
            raise self.error
        return [text.upper() for text in texts]


def batcher_of(
    model: Model,
    max_requests: int = 1,
    max_texts: int = 4,
    max_seconds: float = 10.0,
    max_pending: int = 100,
) -> Batcher[str]:
    return Batcher(model, max_requests, max_texts, max_seconds, max_pending)


async def submit(batcher: Batcher[str], *callers: Sequence[str]) -> list[asyncio.Task[list[str]]]:
    """Start one task per caller and let each wait for its results."""
    tasks = [asyncio.create_task(batcher.submit(texts)) for texts in callers]
    await settle()
    return tasks


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_single_call_is_sent_at_once_and_later_calls_share_batches() -> None:
    model = Model()
    batcher = batcher_of(model)
    first = await submit(batcher, ["a"])
    rest = await submit(batcher, ["b", "c"], ["d"], ["e", "f"], ["g"])
    assert model.sent == [["a"]]
    model.go.set()
    answers = [await task for task in first + rest]
    assert answers == [["A"], ["B", "C"], ["D"], ["E", "F"], ["G"]]
    assert model.sent == [["a"], ["b", "c", "d"], ["e", "f", "g"]]


async def test_the_number_of_in_flight_requests_is_limited() -> None:
    model = Model()
    batcher = batcher_of(model, max_requests=2)
    tasks = [
        *(await submit(batcher, ["a"])),
        *(await submit(batcher, ["b"])),
        *(await submit(batcher, ["c"])),
    ]
    assert model.sent == [["a"], ["b"]]
    model.go.set()
    assert [await task for task in tasks] == [["A"], ["B"], ["C"]]


async def test_sequential_calls_are_not_delayed() -> None:
    model = Model()
    model.go.set()
    batcher = batcher_of(model)
    async with asyncio.timeout(30):
        assert [await batcher.submit(["a"]) for _ in range(3)] == [["A"]] * 3


async def test_the_number_of_pending_texts_is_limited() -> None:
    model = Model()
    batcher = batcher_of(model, max_pending=3)
    tasks = await submit(batcher, ["a"], ["b"])
    with pytest.raises(UnavailableError) as raised:
        await batcher.submit(["c", "d"])
    assert raised.value.retry_after == 1
    tasks += await submit(batcher, ["e"])
    model.go.set()
    assert [await task for task in tasks] == [["A"], ["B"], ["E"]]
    assert await batcher.submit(["f", "g", "h"]) == ["F", "G", "H"], "the queue has room again"


async def test_a_job_larger_than_a_batch_is_sent_alone() -> None:
    model = Model()
    model.go.set()
    (task,) = await submit(batcher_of(model, max_texts=2), ["a", "b", "c"])
    assert await task == ["A", "B", "C"]
    assert model.sent == [["a", "b", "c"]]


async def test_an_error_is_raised_in_every_caller_of_the_batch() -> None:
    model = Model()
    batcher = batcher_of(model)
    tasks = [*(await submit(batcher, ["a"])), *(await submit(batcher, ["b"], ["c"]))]
    model.error = ValueError("no")
    model.go.set()
    assert [type(answer) for answer in await asyncio.gather(*tasks, return_exceptions=True)] == [
        ValueError
    ] * 3
    model.error = None
    assert await batcher.submit(["d"]) == ["D"]


async def test_a_cancelled_job_is_not_sent() -> None:
    model = Model()
    batcher = batcher_of(model)
    (first, cancelled, last) = [
        *(await submit(batcher, ["a"])),
        *(await submit(batcher, ["b"])),
        *(await submit(batcher, ["c"])),
    ]
    cancelled.cancel()
    model.go.set()
    assert [await first, await last] == [["A"], ["C"]]
    assert model.sent == [["a"], ["c"]]


async def test_a_call_that_would_wait_too_long_is_rejected_with_retry_after() -> None:
    model = Model()
    batcher = batcher_of(model, max_seconds=0.2)
    began = time.monotonic()
    (slow,) = await submit(batcher, ["a"])
    await asyncio.sleep(0.25)
    model.go.set()
    await slow
    elapsed = time.monotonic() - began
    model.go.clear()
    tasks = await submit(batcher, *(["b"] for _ in range(8)))
    with pytest.raises(UnavailableError) as raised:
        await batcher.submit(["c"])
    assert raised.value.retry_after is not None
    assert 2 <= raised.value.retry_after <= math.ceil(8 * elapsed)  # eight texts are pending
    model.go.set()
    assert [await task for task in tasks] == [["B"]] * 8
    assert await batcher.submit(["d"]) == ["D"]


async def test_closing_cancels_all_callers() -> None:
    model = Model()
    batcher = batcher_of(model)
    tasks = [*(await submit(batcher, ["a"])), *(await submit(batcher, ["b"]))]
    await batcher.aclose()
    async with asyncio.timeout(30):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2


async def test_a_batch_is_sent_in_the_context_of_its_first_caller() -> None:
    """Not in the context of the call that started the sender task, which may have ended long ago."""
    model = Model()
    batcher = batcher_of(model)

    async def call(name: str) -> None:
        CALLER.set(name)
        await batcher.submit([name])

    calls = [asyncio.create_task(call("ada"))]
    await settle()
    calls += [asyncio.create_task(call(name)) for name in ("bob", "cyd")]
    await settle()
    model.go.set()
    await asyncio.gather(*calls)
    assert model.sent == [["ada"], ["bob", "cyd"]]
    assert model.callers == ["ada", "bob"]
