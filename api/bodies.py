"""Checks of a request body before it is parsed: media type and size."""

from collections.abc import Callable, Coroutine
from email.message import Message as Header
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from api.errors import UnsupportedMediaTypeError

MAX_BYTES = 16 * 2**20
"""More than a batch of 64 texts of 20,000 characters, even if every character is escaped."""


class JsonRoute(APIRoute):
    """A route that responds 415 to a body that is not JSON and 413 to one that is too large."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def checked(request: Request) -> Response:
            require_json(request.headers.get("content-type"))
            declared = request.headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > MAX_BYTES:
                raise too_large()
            return await handle(Request(request.scope, limited(request.receive)))

        return checked


def require_json(content_type: str | None) -> None:
    header = Header()
    header["content-type"] = content_type or ""
    if header.get_content_type() != "application/json":
        raise UnsupportedMediaTypeError("Content-Type must be application/json.")


def limited(receive: Receive) -> Receive:
    """Wrap `receive` with the size limit, because a chunked request does not declare its length."""
    left = MAX_BYTES

    async def checked() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_large()
        return message

    return checked


def too_large() -> HTTPException:
    # Not an ApiError: while FastAPI reads the body, it propagates only HTTPException.
    return HTTPException(413, f"The body is larger than {MAX_BYTES:,} bytes.")
