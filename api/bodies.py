"""What a request's body must be before anybody reads it: JSON, and not too long."""

from collections.abc import Callable, Coroutine
from email.message import Message as Header
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from api.errors import UnsupportedMediaTypeError

MAX_BYTES = 16 * 2**20
"""64 texts of 20,000 characters are less, even with every character escaped."""


class JsonRoute(APIRoute):
    """A route that answers 415 to a body of another type, and 413 to one that is too long."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def checked(request: Request) -> Response:
            require_json(request.headers.get("content-type"))
            declared = request.headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > MAX_BYTES:
                raise too_long()
            return await handle(Request(request.scope, limited(request.receive)))

        return checked


def require_json(content_type: str | None) -> None:
    header = Header()
    header["content-type"] = content_type or ""
    if header.get_content_type() != "application/json":
        raise UnsupportedMediaTypeError("Content-Type must be application/json.")


def limited(receive: Receive) -> Receive:
    """`receive`, until it has given more than is allowed: not every client says how much will come."""
    left = MAX_BYTES

    async def checked() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_long()
        return message

    return checked


def too_long() -> HTTPException:
    # Not an ApiError: FastAPI reads the body, and lets only its own errors through.
    return HTTPException(413, f"The body is longer than {MAX_BYTES:,} bytes.")
