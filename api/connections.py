"""The connections that are kept between requests to the Bento."""

from typing import Any

import httpx


class KeptConnections(httpx.AsyncBaseTransport):
    """Sends a request once more when the connection that was kept for it turns out to be closed.

    A server may end an idle connection at any moment, just when the next request is on its way too (RFC 9112,
    9.3.1). On a new connection that cannot be: there the server has read the request, and it may have been
    what the server died of. Only for requests that may be done twice.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connected = False

        async def note(event: str, _: dict[str, Any]) -> None:
            nonlocal connected
            connected = connected or event.startswith("connection.connect_")

        request.extensions = {**request.extensions, "trace": note}
        try:
            # This ends with the head of the answer: an error while its body comes is no reason to ask again.
            return await self._transport.handle_async_request(request)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            if connected:
                raise
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()
