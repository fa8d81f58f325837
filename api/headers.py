"""The headers that every answer has, those of errors and files included.

The library `secure` sends one policy for all paths, over what a route has set, and HSTS without TLS too.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULTS = {
    # Answers are data: a browser that shows one runs nothing, fetches nothing and frames nothing.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A copy may be kept, and is asked about each time (If-None-Match): anything may have changed since.
    "Cache-Control": "no-cache",
}
HSTS = "max-age=31536000"
"""A year, this host only: the others of its domain are not ours."""


class DefaultHeaders:
    """Adds what the answer has not set itself. The scheme is what uvicorn makes of X-Forwarded-Proto."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in DEFAULTS.items():
                    headers.setdefault(name, value)
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", HSTS)
            await send(message)

        await self._app(scope, receive, add)
