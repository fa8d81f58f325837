"""Paths of this API as its clients see them."""

from urllib.parse import urlencode

from fastapi import Request


def path_to(request: Request, route: str, **parameters: str) -> str:
    """Return the path of a route, by the route's name."""
    # Behind a proxy that serves the API under a prefix, the client's path starts with root_path.
    root = request.scope.get("root_path", "").rstrip("/")
    return f"{root}{request.app.url_path_for(route, **parameters)}"


def next_page(request: Request, cursor: str) -> dict[str, str]:
    """Return the header Link (RFC 8288) of a page that is followed by the page at `cursor`."""
    path = path_to(request, request.scope["route"].name, **request.path_params)
    return {"Link": f'<{path}?{urlencode({**request.query_params, "cursor": cursor})}>; rel="next"'}
