"""Admission control: rejects requests that cannot be answered in time, and cancels abandoned ones."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.sentiment import metrics

MAX_RETRY_AFTER_SECONDS = 30


class Queue(Protocol):
    """The texts that wait for the engine."""

    def seconds(self) -> float:
        """Return the estimated time to process everything in the queue."""

    def is_full(self) -> bool:
        """Return whether a new request would wait too long."""


class AdmissionMiddleware:
    """Outermost ASGI middleware, so that rejecting a request costs less than serving it.

    A POST is answered 429 with Retry-After while `limit` requests are in flight or the queue is full, or if
    the bodies in flight would together exceed `total_bytes`; 413 if its body is longer than `body_bytes`, and
    504 after `seconds`. When a client disconnects, its request is cancelled, and is dropped if it is still
    queued. Other requests pass through unchanged.
    """

    def __init__(
        self, app: ASGIApp, queue: Queue, limit: int, body_bytes: int, total_bytes: int, seconds: float
    ) -> None:
        self._app, self._queue = app, queue
        self._limit, self._body_bytes, self._seconds = limit, body_bytes, seconds
        self._in_flight = 0
        self._memory = Memory(total_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif self._in_flight >= self._limit or self._queue.is_full():
            await refuse(429, "too many requests: try again later", self._retry_after(), scope, receive, send)
        else:
            with ExitStack() as slot:
                slot.enter_context(self._slot())

                reserved = slot.enter_context(self._memory.reservation())

                async def send_and_release(message: Message) -> None:
                    # The slot is released before the last bytes are sent: the client may send its next
                    # request as soon as it has them.
                    if message["type"] == "http.response.body" and not message.get("more_body", False):
                        slot.close()
                    await send(message)

                await self._handle(scope, receive, send_and_release, reserved)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        self._in_flight += 1
        try:
            with metrics.REQUESTS_INSIDE.track_inprogress():
                yield
        finally:
            self._in_flight -= 1

    async def _handle(self, scope: Scope, receive: Receive, send: Send, reserved: "Reservation") -> None:
        timed_out = f"not answered within {self._seconds:g} seconds"
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(deadline):
                body = await read(receive, self._body_bytes, reserved)
        except TimeoutError:
            return await refuse(504, timed_out, None, scope, receive, send)
        except BodyTooLongError:
            detail = f"the request body is longer than {self._body_bytes} bytes"
            return await refuse(413, detail, None, scope, receive, send)
        except MemoryFullError:
            detail = "the bodies of other requests fill the memory: try again later"
            return await refuse(429, detail, self._retry_after(), scope, receive, send)
        if body is None:
            return metrics.REQUESTS_REFUSED.labels("499").inc()
        response = Response(send, self._retry_after)
        answer = asyncio.ensure_future(self._app(scope, replay(body), response))
        del body  # `replay` has it, until it has been read
        # The body has been read, so the next message can only be http.disconnect.
        disconnect = asyncio.ensure_future(receive())
        try:
            remaining = deadline - asyncio.get_running_loop().time()
            await asyncio.wait({answer, disconnect}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() or (response.started and not disconnect.done()):
                return await answer
        finally:
            response.closed = not answer.done()
            answer.cancel()
            disconnect.cancel()
        await asyncio.wait({answer})
        if disconnect.done() and not disconnect.cancelled():
            return metrics.REQUESTS_REFUSED.labels("499").inc()
        return await refuse(504, timed_out, None, scope, receive, send)

    def _retry_after(self) -> str:
        """Return the estimated time to empty the queue, in whole seconds."""
        return str(min(max(1, math.ceil(self._queue.seconds())), MAX_RETRY_AFTER_SECONDS))


class Response:
    """An ASGI `send` that drops messages once it is closed, and adds Retry-After to 503."""

    def __init__(self, send: Send, retry_after: Callable[[], str]) -> None:
        self._send, self._retry_after = send, retry_after
        self.started = self.closed = False

    async def __call__(self, message: Message) -> None:
        if self.closed:
            return
        self.started = True
        if message.get("status") == 503:
            MutableHeaders(scope=message)["Retry-After"] = self._retry_after()
        await self._send(message)


class BodyTooLongError(Exception):
    """The request body exceeds the limit."""


class MemoryFullError(Exception):
    """The request bodies together exceed the limit."""


class Memory:
    """The bytes of the request bodies in flight, of which there may be `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0

    @contextmanager
    def reservation(self) -> Iterator["Reservation"]:
        """Provide a reservation, empty at first; at the end all its bytes are released."""
        reserved = Reservation(self)
        try:
            yield reserved
        finally:
            self._used -= reserved.size

    def take(self, size: int) -> None:
        """Raises MemoryFullError."""
        if self._used + size > self._limit:
            raise MemoryFullError
        self._used += size


class Reservation:
    """The bytes of one request body."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.size = 0

    def extend(self, size: int) -> None:
        """Raises MemoryFullError."""
        self._memory.take(size)
        self.size += size


async def read(receive: Receive, limit: int, reserved: Reservation) -> bytes | None:
    """Read the whole body; return None if the client disconnects first.

    Raises BodyTooLongError, MemoryFullError.
    """
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if reserved.size + len(parts[-1]) > limit:
            raise BodyTooLongError
        reserved.extend(len(parts[-1]))
        if not message.get("more_body", False):
            return b"".join(parts)


def replay(body: bytes) -> Receive:
    """Return a `receive` that delivers the whole body in one message, and then nothing, for ever.

    It keeps no copy: the texts may wait in the queue for long after their body was parsed.
    """
    bodies = [body]

    async def receive() -> Message:
        if not bodies:
            await asyncio.Event().wait()  # for a disconnect, upon which the request is cancelled
        return {"type": "http.request", "body": bodies.pop(), "more_body": False}

    return receive


async def refuse(
    status: int, detail: str, retry_after: str | None, scope: Scope, receive: Receive, send: Send
) -> None:
    metrics.REQUESTS_REFUSED.labels(str(status)).inc()
    headers = {"Retry-After": retry_after} if retry_after else None
    await JSONResponse({"error": detail}, status, headers)(scope, receive, send)
