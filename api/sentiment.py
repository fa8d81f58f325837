"""Typed client of the Bento: texts in, one sentiment or one error each out."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from timeit import default_timer
from typing import Annotated
from uuid import uuid4

import httpx
from asgi_correlation_id import correlation_id
from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError

from api import metrics
from api.batches import Batches
from api.breaker import Breaker
from api.connections import KeptConnections
from api.errors import ApiError, BadGatewayError, GatewayTimeoutError, UnavailableError
from api.models import Analysis, SentimentError
from api.settings import Settings

log = logging.getLogger(__name__)

MAX_TEXTS = 64
"""In one request: what the Bento takes, and one batch of its engine."""

OUTCOMES: dict[type[ApiError], str] = {
    UnavailableError: "unavailable",
    GatewayTimeoutError: "slow",
    BadGatewayError: "nonsense",
}
"""Of a request, in the metrics."""

ANSWER = TypeAdapter(list[Analysis | SentimentError])


def direct() -> httpx.AsyncBaseTransport:
    """A proxy of the environment is for the outside world, and the Bento is a neighbour."""
    return httpx.AsyncHTTPTransport(trust_env=False)


class SentimentClient:
    """One pooled HTTP client for the life of the application; close it with `aclose`."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._connect_seconds = settings.api_bento_connect_timeout_seconds
        self._total_seconds = settings.api_bento_timeout_seconds
        self._http = httpx.AsyncClient(
            base_url=settings.bento_url,
            timeout=httpx.Timeout(self._total_seconds, connect=self._connect_seconds),
            trust_env=False,
            # Any text may be classified twice.
            transport=KeptConnections(transport or direct()),
        )
        self._breaker = Breaker(settings.api_bento_breaker_failures, settings.api_bento_breaker_seconds)
        # Half of the time is left for what the guess is wrong by.
        self._batches = Batches(
            self._post,
            settings.api_bento_max_requests,
            MAX_TEXTS,
            most_seconds=self._total_seconds / 2,
            most_waiting=settings.api_bento_max_waiting,
        )
        metrics.BENTO_TEXTS.set_function(lambda: self._batches.texts)
        metrics.BENTO_BREAKER_OPEN.set_function(lambda: self._breaker.is_open)

    async def aclose(self) -> None:
        await self._batches.aclose()
        await self._http.aclose()

    async def classify(self, texts: Sequence[str]) -> list[Analysis | SentimentError]:
        """One result for each text, in order; the texts may travel with those of other callers.

        Raises UnavailableError (down, busy), GatewayTimeoutError (too slow), BadGatewayError (nonsense).
        """
        self._breaker.check()  # else it would be told only when a place for its request is free
        try:
            # httpx limits each read; the whole answer may dribble in for longer than that.
            async with asyncio.timeout(self._total_seconds):
                return await self._batches.ask(texts)
        except TimeoutError as error:
            raise self._too_slow() from error

    async def _post(self, texts: list[str]) -> list[Analysis | SentimentError]:
        with _measured():
            with self._breaker.guard():
                response = await self._answer(texts)
            if response.status_code != httpx.codes.OK:
                raise _refused(response)
            return _parse(response.content, len(texts))

    async def _answer(self, texts: list[str]) -> httpx.Response:
        """Whatever the Bento says in time."""
        try:
            async with asyncio.timeout(self._total_seconds):
                request_id = {"X-Request-ID": correlation_id.get() or uuid4().hex}
                response = await self._http.post("/classify", json={"texts": texts}, headers=request_id)
        except (httpx.ReadTimeout, httpx.WriteTimeout, TimeoutError) as error:
            raise self._too_slow() from error
        except httpx.TransportError as error:
            log.warning("bento: %s: %s", type(error).__name__, error)
            raise UnavailableError("The sentiment model cannot be reached now; try again.") from error
        except httpx.RequestError as error:
            raise _nonsense(str(error)) from error
        if response.status_code == httpx.codes.GATEWAY_TIMEOUT:
            raise self._too_slow()
        return response

    async def is_ready(self) -> bool:
        """Whether texts are sent, and the Bento says that its model is loaded; no longer than a connect."""
        if self._breaker.is_open:
            return False
        try:
            async with asyncio.timeout(self._connect_seconds):
                response = await self._http.get("/readyz")
        except (httpx.RequestError, TimeoutError):
            return False
        return response.is_success

    def _too_slow(self) -> GatewayTimeoutError:
        return GatewayTimeoutError(f"The sentiment model took longer than {self._total_seconds:g} seconds.")


@contextmanager
def _measured() -> Iterator[None]:
    """Around one request to the Bento."""
    began = default_timer()
    outcome = "cancelled"
    try:
        yield
        outcome = "ok"
    except ApiError as error:
        outcome = OUTCOMES[type(error)]
        raise
    finally:
        metrics.BENTO_SECONDS.labels(outcome).observe(default_timer() - began)


def _refused(response: httpx.Response) -> ApiError:
    if response.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS):
        return UnavailableError("The sentiment model is busy; try again.", _retry_after(response))
    return _nonsense(f"status {response.status_code}: {response.text[:200]}")


def _parse(content: bytes, expected: int) -> list[Analysis | SentimentError]:
    try:
        results = ANSWER.validate_json(content)
    except ValidationError as error:
        raise _nonsense(str(error)) from error
    if len(results) != expected:
        raise _nonsense(f"{len(results)} results for {expected} texts")
    return results


def _nonsense(reason: str) -> BadGatewayError:
    log.error("bento: %s", reason)
    return BadGatewayError("The sentiment model gave an answer that makes no sense; this is logged.")


def _retry_after(response: httpx.Response) -> int:
    """Seconds, as the Bento asked for; its header may also be absent or a date."""
    asked = response.headers.get("Retry-After", "")
    return int(asked) if asked.isdecimal() else 5


def _client(request: Request) -> SentimentClient:
    client: SentimentClient = request.app.state.bento
    return client


BentoDep = Annotated[SentimentClient, Depends(_client)]
