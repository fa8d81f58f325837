"""HEAD, and the security, caching and RateLimit headers of every response, including errors and static files.

The library `secure` is not used: it overrides a route's own policy, and sends HSTS without TLS.
"""

from collections.abc import Mapping

from asgi_correlation_id import correlation_id
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULTS = {
    # Responses are data: a browser that displays one must not run, load or frame anything.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A cached copy must be revalidated (If-None-Match) before each use.
    "Cache-Control": "no-cache",
}
HSTS = "max-age=31536000"
"""One year, without includeSubDomains: other hosts of the domain may belong to other services."""


class HeadAsGet:
    """ASGI middleware that answers HEAD as GET, without the body; metrics and traces count it as GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # A copy: the server decides by its own scope how a response without a body ends.
        await self._app({**scope, "method": "GET"}, receive, send_without_body)


class DefaultHeaders:
    """ASGI middleware that adds missing headers. uvicorn derives the scheme from X-Forwarded-Proto."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                rate_limit: Mapping[str, str] = scope.get("state", {}).get("rate_limit", {})
                for name, value in {**DEFAULTS, **rate_limit}.items():
                    headers.setdefault(name, value)
                # asgi-correlation-id adds it to every response but those of Starlette's error handler.
                if request_id := correlation_id.get():
                    headers.setdefault("X-Request-ID", request_id)
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", HSTS)
            await send(message)

        await self._app(scope, receive, add)
