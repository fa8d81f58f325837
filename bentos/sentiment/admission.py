"""Who is let in: no more requests than can be answered in time, and none whose client is gone."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.sentiment import metrics

LONGEST_RETRY_SECONDS = 30


class Queue(Protocol):
    """What waits for the engine."""

    def seconds(self) -> float:
        """How long what is in it will take."""

    def is_full(self) -> bool:
        """Whether a request that came now would wait too long."""


class Admission:
    """ASGI middleware, the outermost: being turned away must cost less than being served.

    A POST gets 429 with Retry-After while `limit` requests are in or the queue is full, 413 when its body is
    longer than `body_bytes`, 504 after `seconds`. The work for a client that hangs up is cancelled: what
    still waits for the engine never goes there. Everything else passes.
    """

    def __init__(self, app: ASGIApp, queue: Queue, limit: int, body_bytes: int, seconds: float) -> None:
        self._app, self._queue = app, queue
        self._limit, self._body_bytes, self._seconds = limit, body_bytes, seconds
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif self._inside >= self._limit or self._queue.is_full():
            await refuse(429, "too many requests: try again later", self._retry_after(), scope, receive, send)
        else:
            with ExitStack() as place:
                place.enter_context(self._place())

                async def leave_with_the_last(message: Message) -> None:
                    # Before it goes: who has the whole answer may ask again at once.
                    if message["type"] == "http.response.body" and not message.get("more_body", False):
                        place.close()
                    await send(message)

                await self._admit(scope, receive, leave_with_the_last)

    @contextmanager
    def _place(self) -> Iterator[None]:
        self._inside += 1
        try:
            with metrics.REQUESTS_INSIDE.track_inprogress():
                yield
        finally:
            self._inside -= 1

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        late = f"not answered within {self._seconds:g} seconds"
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(deadline):
                body = await read(receive, self._body_bytes)
        except TimeoutError:
            return await refuse(504, late, None, scope, receive, send)
        except BodyTooLongError:
            words = f"the request is longer than {self._body_bytes} bytes"
            return await refuse(413, words, None, scope, receive, send)
        if body is None:
            return metrics.REQUESTS_REFUSED.labels("499").inc()
        reply = Reply(send, self._retry_after)
        answer = asyncio.ensure_future(self._app(scope, replay(body), reply))
        gone = asyncio.ensure_future(receive())  # the body is read: what comes next is the client's end
        try:
            remaining = deadline - asyncio.get_running_loop().time()
            await asyncio.wait({answer, gone}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() or (reply.started and not gone.done()):
                return await answer
        finally:
            reply.closed = not answer.done()
            answer.cancel()
            gone.cancel()
        await asyncio.wait({answer})
        if gone.done() and not gone.cancelled():
            return metrics.REQUESTS_REFUSED.labels("499").inc()
        return await refuse(504, late, None, scope, receive, send)

    def _retry_after(self) -> str:
        """Whole seconds until what is in will be done."""
        return str(min(max(1, math.ceil(self._queue.seconds())), LONGEST_RETRY_SECONDS))


class Reply:
    """The way back to the client; nothing comes through once it is closed."""

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
    """More bytes came than a request may have."""


async def read(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None when the client left first. Raises BodyTooLongError."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BodyTooLongError
        if not message.get("more_body", False):
            return b"".join(parts)


def replay(body: bytes) -> Receive:
    """A `receive` that gives the whole body at once."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def refuse(
    status: int, words: str, retry_after: str | None, scope: Scope, receive: Receive, send: Send
) -> None:
    metrics.REQUESTS_REFUSED.labels(str(status)).inc()
    headers = {"Retry-After": retry_after} if retry_after else None
    await JSONResponse({"error": words}, status, headers)(scope, receive, send)
