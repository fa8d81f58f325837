"""HTTP transports to the Bento."""

from typing import Any

import httpx


def direct_transport() -> httpx.AsyncBaseTransport:
    """A transport that ignores proxy environment variables: the Bento is on the local network."""
    return httpx.AsyncHTTPTransport(trust_env=False)


class RetryOnStaleConnection(httpx.AsyncBaseTransport):
    """Retries a request once if the server has closed the pooled connection that it was sent on.

    A server may close an idle connection while the next request is already on its way (RFC 9112, 9.3.1).
    A request that fails on a new connection is not retried, because it may be what crashed the server.
    Use it only for idempotent requests.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_new_connection = False

        async def trace(event: str, _: dict[str, Any]) -> None:
            nonlocal is_new_connection
            is_new_connection = is_new_connection or event.startswith("connection.connect_")

        request.extensions = {**request.extensions, "trace": trace}
        try:
            # Returns once the response headers have arrived: an error in the body is not retried.
            return await self._transport.handle_async_request(request)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            if is_new_connection:
                raise
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()
