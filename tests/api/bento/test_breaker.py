"""When the Bento is asked no more, and when again; it is played at the wire."""

import asyncio
import time

import httpx
import pytest

from api.bento.client import BentoClient
from api.errors import ApiError, UnavailableError
from tests.api.bento.test_client import GOOD, connected
from tests.api.conftest import Clock
from tests.api.waiting import until

SECONDS = 60


class Bento:
    """Answers, or does what `failing` says; `asked` counts what came through to it."""

    def __init__(self) -> None:
        self.asked = 0
        self.failing: int | type[httpx.TransportError] | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def was_asked(self) -> bool:
        return self.asked > 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(200)
        self.asked += 1
        failing = self.failing
        await self.go.wait()
        if failing is None:
            return httpx.Response(200, json=[GOOD])
        if isinstance(failing, int):
            return httpx.Response(failing, json=[])
        raise failing("no", request=request)


@pytest.fixture
def bento() -> Bento:
    return Bento()


async def outcome(client: BentoClient) -> str:
    """What became of one text."""
    try:
        await client.classify(["x"])
    except ApiError as error:
        return type(error).__name__
    return "answer"


async def opened(client: BentoClient, bento: Bento) -> None:
    bento.failing = httpx.ConnectError
    for _ in range(2):
        await outcome(client)
    bento.failing = None


@pytest.mark.parametrize("failing", [httpx.ConnectError, httpx.ReadError, httpx.ReadTimeout, 504])
async def test_who_comes_after_the_last_failure_in_a_row_is_refused_at_once(
    bento: Bento, failing: int | type[httpx.TransportError], caplog: pytest.LogCaptureFixture
) -> None:
    bento.failing = failing
    async with connected(bento, api_bento_breaker_failures=3, api_bento_breaker_seconds=20) as client:
        for _ in range(3):
            await outcome(client)
        asked, began = bento.asked, time.monotonic()
        for _ in range(10):
            with pytest.raises(UnavailableError) as raised:
                await client.classify(["x"])
    assert bento.asked == asked
    assert time.monotonic() - began < 1
    assert raised.value.retry_after in {19, 20}
    assert caplog.text.count("circuit opened") == 1


@pytest.mark.parametrize("failing", [429, 503, 500, 502, 400, 200, httpx.DecodingError])
async def test_who_answers_is_there_whatever_it_says(
    bento: Bento, failing: int | type[httpx.TransportError]
) -> None:
    bento.failing = failing
    async with connected(bento, api_bento_breaker_failures=1) as client:
        for _ in range(5):
            assert await outcome(client) != "answer"
    assert bento.asked == 5


async def test_an_answer_between_failures_starts_the_count_anew(bento: Bento) -> None:
    async with connected(bento, api_bento_breaker_failures=2) as client:
        for failing in (httpx.ConnectError, None, httpx.ConnectError, 503, httpx.ConnectError):
            bento.failing = failing
            await outcome(client)
    assert bento.asked == 5


async def test_one_probe_goes_through_and_its_answer_closes(bento: Bento, clock: Clock) -> None:
    settings = {"api_bento_breaker_failures": 2, "api_bento_breaker_seconds": SECONDS}
    # The probe has the only place for a request: nobody may wait until it is free.
    async with connected(bento, **settings, api_bento_max_requests=1) as client:
        await opened(client, bento)
        clock.advance(SECONDS)
        bento.asked = 0
        bento.go.clear()
        probe = asyncio.create_task(outcome(client))
        await until(bento.was_asked)
        async with asyncio.timeout(60):
            assert [await outcome(client) for _ in range(50)] == ["UnavailableError"] * 50
        assert not await client.is_ready(), "whoever analyses now is refused"
        assert (bento.asked, probe.done()) == (1, False)
        bento.go.set()
        assert await probe == "answer"
        assert [await outcome(client) for _ in range(3)] == ["answer"] * 3


async def test_a_failed_probe_leaves_the_circuit_open(bento: Bento, clock: Clock) -> None:
    async with connected(bento, api_bento_breaker_failures=2, api_bento_breaker_seconds=SECONDS) as client:
        await opened(client, bento)
        for _ in range(2):
            clock.advance(SECONDS)
            bento.asked, bento.failing = 0, httpx.ConnectError
            await outcome(client)
            bento.failing = None
            assert await outcome(client) == "UnavailableError"
            assert bento.asked == 1
        clock.advance(SECONDS)
        assert await outcome(client) == "answer"


async def test_is_ready_says_whether_texts_are_sent(bento: Bento, clock: Clock) -> None:
    async with connected(bento, api_bento_breaker_failures=2, api_bento_breaker_seconds=SECONDS) as client:
        assert await client.is_ready()
        await opened(client, bento)
        assert not await client.is_ready()
        clock.advance(SECONDS)
        assert await client.is_ready(), "the next one is sent"
