import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from api.bento.batcher import Batcher
from api.errors import UnavailableError

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


class Model:
    """Answers a text with its capitals, when it is told to."""

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


def batches(
    model: Model,
    max_requests: int = 1,
    max_texts: int = 4,
    max_seconds: float = 10.0,
    max_pending: int = 100,
) -> Batcher[str]:
    return Batcher(model, max_requests, max_texts, max_seconds, max_pending)


async def ask(asked: Batcher[str], *callers: Sequence[str]) -> list[asyncio.Task[list[str]]]:
    """One task a caller, all of them waiting."""
    tasks = [asyncio.create_task(asked.submit(texts)) for texts in callers]
    await settle()
    return tasks


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_lone_caller_waits_for_nobody_and_the_next_ones_travel_together() -> None:
    model = Model()
    asked = batches(model)
    first = await ask(asked, ["a"])
    rest = await ask(asked, ["b", "c"], ["d"], ["e", "f"], ["g"])
    assert model.sent == [["a"]]
    model.go.set()
    answers = [await task for task in first + rest]
    assert answers == [["A"], ["B", "C"], ["D"], ["E", "F"], ["G"]]
    assert model.sent == [["a"], ["b", "c", "d"], ["e", "f", "g"]]


async def test_no_more_requests_than_allowed_are_under_way() -> None:
    model = Model()
    asked = batches(model, max_requests=2)
    tasks = [*(await ask(asked, ["a"])), *(await ask(asked, ["b"])), *(await ask(asked, ["c"]))]
    assert model.sent == [["a"], ["b"]]
    model.go.set()
    assert [await task for task in tasks] == [["A"], ["B"], ["C"]]


async def test_who_asks_again_at_once_does_not_wait_for_others_to_come() -> None:
    model = Model()
    model.go.set()
    asked = batches(model)
    async with asyncio.timeout(1):
        assert [await asked.submit(["a"]) for _ in range(3)] == [["A"]] * 3


async def test_no_more_texts_are_let_in_than_allowed() -> None:
    model = Model()
    asked = batches(model, max_pending=3)
    tasks = await ask(asked, ["a"], ["b"])
    with pytest.raises(UnavailableError) as raised:
        await asked.submit(["c", "d"])
    assert raised.value.retry_after == 1
    tasks += await ask(asked, ["e"])
    model.go.set()
    assert [await task for task in tasks] == [["A"], ["B"], ["E"]]
    assert await asked.submit(["f", "g", "h"]) == ["F", "G", "H"], "there is room again"


async def test_more_texts_than_fit_are_sent_alone() -> None:
    model = Model()
    model.go.set()
    (task,) = await ask(batches(model, max_texts=2), ["a", "b", "c"])
    assert await task == ["A", "B", "C"]
    assert model.sent == [["a", "b", "c"]]


async def test_an_error_goes_to_those_whose_texts_were_sent() -> None:
    model = Model()
    asked = batches(model)
    tasks = [*(await ask(asked, ["a"])), *(await ask(asked, ["b"], ["c"]))]
    model.error = ValueError("no")
    model.go.set()
    assert [type(answer) for answer in await asyncio.gather(*tasks, return_exceptions=True)] == [
        ValueError
    ] * 3
    model.error = None
    assert await asked.submit(["d"]) == ["D"]


async def test_whose_caller_is_gone_is_not_sent() -> None:
    model = Model()
    asked = batches(model)
    (first, gone, last) = [
        *(await ask(asked, ["a"])),
        *(await ask(asked, ["b"])),
        *(await ask(asked, ["c"])),
    ]
    gone.cancel()
    model.go.set()
    assert [await first, await last] == [["A"], ["C"]]
    assert model.sent == [["a"], ["c"]]


async def test_who_would_wait_too_long_is_told_when_to_come_again() -> None:
    model = Model()
    asked = batches(model, max_seconds=0.2)
    (slow,) = await ask(asked, ["a"])
    await asyncio.sleep(0.25)
    model.go.set()
    await slow
    model.go.clear()
    tasks = await ask(asked, *(["b"] for _ in range(8)))
    with pytest.raises(UnavailableError) as raised:
        await asked.submit(["c"])
    assert raised.value.retry_after is not None
    assert 2 <= raised.value.retry_after <= 8  # eight texts at a quarter of a second each
    model.go.set()
    assert [await task for task in tasks] == [["B"]] * 8
    assert await asked.submit(["d"]) == ["D"]


async def test_closing_leaves_nobody_waiting() -> None:
    model = Model()
    asked = batches(model)
    tasks = [*(await ask(asked, ["a"])), *(await ask(asked, ["b"]))]
    await asked.aclose()
    async with asyncio.timeout(1):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2


async def test_texts_travel_in_the_context_of_their_first_caller() -> None:
    """And not in that of whoever came when nothing was under way, whose request may be over long since."""
    model = Model()
    asked = batches(model)

    async def call(name: str) -> None:
        CALLER.set(name)
        await asked.submit([name])

    calls = [asyncio.create_task(call("ada"))]
    await settle()
    calls += [asyncio.create_task(call(name)) for name in ("bob", "cyd")]
    await settle()
    model.go.set()
    await asyncio.gather(*calls)
    assert model.sent == [["ada"], ["bob", "cyd"]]
    assert model.callers == ["ada", "bob"]
