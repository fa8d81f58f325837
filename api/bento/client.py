"""Typed client of the Bento's `POST /classify`: one sentiment or one error per text."""

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
from api.bento.batcher import Batcher
from api.bento.breaker import Breaker
from api.bento.transport import RetryOnStaleConnection, direct_transport
from api.errors import ApiError, BadGatewayError, GatewayTimeoutError, UnavailableError
from api.sentiments import Analysis, SentimentError
from api.settings import Settings

log = logging.getLogger(__name__)

MAX_TEXTS = 64
"""Texts per request: the Bento's limit, and one batch of its engine."""

OUTCOMES: dict[type[ApiError], str] = {
    UnavailableError: "unavailable",
    GatewayTimeoutError: "slow",
    BadGatewayError: "nonsense",
}
"""Values of the metric label `outcome`."""

RESULTS = TypeAdapter(list[Analysis | SentimentError])


class BentoClient:
    """One pooled HTTP client for the lifetime of the application; close it with `aclose`."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._connect_seconds = settings.api_bento_connect_timeout_seconds
        self._total_seconds = settings.api_bento_timeout_seconds
        self._http = httpx.AsyncClient(
            base_url=settings.bento_url,
            timeout=httpx.Timeout(self._total_seconds, connect=self._connect_seconds),
            trust_env=False,
            # Classifying a text is idempotent.
            transport=RetryOnStaleConnection(transport or direct_transport()),
        )
        self._breaker = Breaker(settings.api_bento_breaker_failures, settings.api_bento_breaker_seconds)
        self._batcher = Batcher(
            self._send,
            settings.api_bento_max_requests,
            MAX_TEXTS,
            # Half of the timeout is a margin for an estimate that is too low.
            max_seconds=self._total_seconds / 2,
            max_pending=settings.api_bento_max_waiting,
        )
        metrics.BENTO_TEXTS.set_function(lambda: self._batcher.pending_texts)
        metrics.BENTO_BREAKER_OPEN.set_function(lambda: self._breaker.is_open)

    async def aclose(self) -> None:
        await self._batcher.aclose()
        await self._http.aclose()

    async def classify(self, texts: Sequence[str]) -> list[Analysis | SentimentError]:
        """Return one result per text, in order; the texts may share a request with those of other callers.

        Raises UnavailableError (down or busy), GatewayTimeoutError (too slow), BadGatewayError (invalid
        answer).
        """
        self._breaker.check()  # fail now, not when a request slot becomes free
        try:
            # httpx limits the time of each read, not of the whole response.
            async with asyncio.timeout(self._total_seconds):
                return await self._batcher.submit(texts)
        except TimeoutError as error:
            raise self._too_slow() from error

    async def is_ready(self) -> bool:
        """Whether the breaker is closed and `GET /readyz` succeeds within the connect timeout."""
        if self._breaker.is_open:
            return False
        try:
            async with asyncio.timeout(self._connect_seconds):
                response = await self._http.get("/readyz")
        except (httpx.RequestError, TimeoutError):
            return False
        return response.is_success

    async def _send(self, texts: list[str]) -> list[Analysis | SentimentError]:
        with _measure():
            with self._breaker.guard():
                response = await self._post(texts)
            if response.status_code != httpx.codes.OK:
                raise _error_of(response)
            return _parse(response.content, len(texts))

    async def _post(self, texts: list[str]) -> httpx.Response:
        """Return the Bento's response, whatever its status except 504."""
        try:
            async with asyncio.timeout(self._total_seconds):
                request_id = {"X-Request-ID": correlation_id.get() or uuid4().hex}
                response = await self._http.post("/classify", json={"texts": texts}, headers=request_id)
        except (httpx.ReadTimeout, httpx.WriteTimeout, TimeoutError) as error:
            raise self._too_slow() from error
        except httpx.TransportError as error:
            log.warning("bento: %s: %s", type(error).__name__, error)
            raise UnavailableError("The sentiment model cannot be reached; try again later.") from error
        except httpx.RequestError as error:
            raise _invalid_answer(str(error)) from error
        if response.status_code == httpx.codes.GATEWAY_TIMEOUT:
            raise self._too_slow()
        return response

    def _too_slow(self) -> GatewayTimeoutError:
        return GatewayTimeoutError(f"The sentiment model took longer than {self._total_seconds:g} seconds.")


@contextmanager
def _measure() -> Iterator[None]:
    """Record the duration and the outcome of one request to the Bento."""
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


def _error_of(response: httpx.Response) -> ApiError:
    if response.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS):
        return UnavailableError("The sentiment model is busy; try again later.", _retry_after(response))
    kind, size = response.headers.get("Content-Type", "no type"), len(response.content)
    return _invalid_answer(f"status {response.status_code} with {size} bytes of {kind}")


def _parse(content: bytes, expected: int) -> list[Analysis | SentimentError]:
    try:
        results = RESULTS.validate_json(content)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False, include_input=False)
        where = ".".join(map(str, first["loc"])) or "the answer"
        raise _invalid_answer(f"{where}: {first['type']}, and {len(others)} other errors") from None
    if len(results) != expected:
        raise _invalid_answer(f"{len(results)} results for {expected} texts")
    return results


def _invalid_answer(reason: str) -> BadGatewayError:
    """Log `reason`, which must not quote the answer: it may quote a text."""
    log.error("bento: %s", reason)
    return BadGatewayError("The sentiment model gave an invalid answer; the error has been logged.")


def _retry_after(response: httpx.Response) -> int:
    """Seconds requested by the Bento; 5 if its header is missing or a date."""
    value = response.headers.get("Retry-After", "")
    return int(value) if value.isdecimal() else 5


def _client(request: Request) -> BentoClient:
    client: BentoClient = request.app.state.bento
    return client


BentoDep = Annotated[BentoClient, Depends(_client)]
