"""Refuses unknown paths before BentoML's metrics, log and traces see them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send


class KnownPathsMiddleware:
    """Answers 404 unless the path is exactly that of a route or of a static file, and closes websockets.

    BentoML labels its metrics with the path that a client sent: each new path would add twenty series.
    """

    def __init__(self, app: ASGIApp, routes: list[BaseRoute]) -> None:
        self._app = app
        self._paths = frozenset(paths(routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # the service has none
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http" and scope["path"] not in self._paths:
            await JSONResponse({"error": "no such path: see /"}, 404)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Yield the paths of the routes and of the files in mounted folders."""
    for route in routes:
        if isinstance(route, Mount) and isinstance(route.app, StaticFiles):
            folder = Path(str(route.app.directory))
            for file in folder.rglob("*"):
                yield f"{route.path}/{file.relative_to(folder).as_posix()}"
        elif isinstance(route, Route):
            yield route.path
