"""Request bodies: admission before they are read, limits of size, time and structure, and parsing."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from email.message import Message as Header
from json.decoder import JSONArray, JSONObject  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from api.errors import UnsupportedMediaTypeError

MAX_BYTES = 256 * 2**10
"""More than one text of 20,000 characters, even if every character is escaped."""

MAX_BATCH_BYTES = 16 * 2**20
"""The same for 64 texts."""

MAX_VALUES = 256
"""Strings, numbers, arrays and so on in a body: several times those of the largest valid one."""

ON_THE_EVENT_LOOP = 64 * 2**10
"""Bytes of a body that are parsed in less than a millisecond."""

Admission = Callable[[Request], Awaitable[object]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def json_route(admit: Admission) -> type[APIRoute]:
    """Return a route class that reads a JSON body only after `admit` has returned.

    Its routes respond 415 to another media type or a compressed body, 413 to a body that is too large, and
    408 to one that does not arrive in time.
    """

    class JsonRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            if self.body_field is None:
                return handle
            limit: int = getattr(self.endpoint, "max_bytes", MAX_BYTES)

            async def checked(request: Request) -> Response:
                await admit(request)
                _require_json(request)
                return await handle(JsonRequest(request.scope, request.receive, limit))

            return checked

    return JsonRoute


def max_bytes(limit: int) -> Callable[[Endpoint], Endpoint]:
    """Set the size limit of an endpoint's body, instead of MAX_BYTES."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.max_bytes = limit  # type: ignore[attr-defined]
        return endpoint

    return mark


def _require_json(request: Request) -> None:
    header = Header()
    header["content-type"] = request.headers.get("content-type", "")
    accepted = ["application/json"]
    if request.method == "PATCH":
        accepted.append("application/merge-patch+json")
    if header.get_content_type() not in accepted:
        raise UnsupportedMediaTypeError(f"Content-Type must be {' or '.join(accepted)}.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError("The body must not be compressed: omit Content-Encoding.")


class JsonRequest(Request):
    """A request whose body is bounded in size, time and number of values."""

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int) -> None:
        super().__init__(scope, receive)
        self._max_bytes = max_bytes

    async def body(self) -> bytes:
        """Read and parse the body. Return its first byte: FastAPI keeps what it gets until the response.

        Raises HTTPException, which FastAPI propagates here, unlike an ApiError.
        """
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise self._too_large()
        seconds: float = self.app.state.body_timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._read_and_parse()
        except TimeoutError:
            raise HTTPException(
                408, f"The body did not arrive within {seconds:g} seconds.", {"Connection": "close"}
            ) from None

    async def json(self) -> Any:
        return self._json

    async def _read_and_parse(self) -> bytes:
        body = bytearray()
        more = True
        while more and len(body) <= MAX_BYTES:
            more = await self._receive_chunk(body)
        if len(body) <= ON_THE_EVENT_LOOP:
            self._json = _parse(body) if body else None
            return bytes(body[:1])
        # Many large bodies together would take all memory.
        async with self.app.state.large_bodies if len(body) > MAX_BYTES else nullcontext():
            while more:
                more = await self._receive_chunk(body)
            # Between two values, the thread yields the interpreter to the event loop if necessary.
            self._json = await asyncio.to_thread(_parse, body)
        return bytes(body[:1])

    async def _receive_chunk(self, body: bytearray) -> bool:
        """Append the next part to `body`. Return whether there is more."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > self._max_bytes:
            raise self._too_large()
        return bool(message.get("more_body", False))

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413, f"The body is larger than {self._max_bytes:,} bytes.", {"Connection": "close"}
        )


def _parse(body: bytearray) -> Any:
    """Like `json.loads`. Raises HTTPException if the body has more than MAX_VALUES values.

    Without this limit, some megabytes of `[[],[],...]` would become gigabytes of objects.
    """
    try:
        return json.loads(body, cls=_BoundedDecoder)
    except json.JSONDecodeError as error:
        failure: Exception = json.JSONDecodeError(error.msg, "", error.pos)
    except HTTPException as error:
        failure = HTTPException(error.status_code, error.detail)
    except (ValueError, RecursionError) as error:
        failure = ValueError(type(error).__name__)  # FastAPI makes it a 400, which api.errors explains
    # Raised here, because the original refers to the body, and the error stays in memory until the response.
    raise failure


class _BoundedDecoder(json.JSONDecoder):
    """Python's JSON decoder with a count of the values. Strings are still scanned in C."""

    def __init__(self) -> None:
        super().__init__()
        self._values = 0
        self.parse_array = self._counting(JSONArray)
        self.parse_object = self._counting(JSONObject)
        self.scan_once = py_make_scanner(self)

    def _counting(self, parse: Callable[..., Any]) -> Callable[..., Any]:
        def counted(state: Any, *arguments: Any) -> Any:
            return parse(state, *[self._count(one) if callable(one) else one for one in arguments])

        return counted

    def _count(self, scan_once: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*position: Any) -> Any:
            self._values += 1
            if self._values > MAX_VALUES:
                raise HTTPException(422, f"The body has more than {MAX_VALUES} values.")
            return scan_once(*position)

        return counted
