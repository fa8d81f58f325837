"""The Swagger UI at /docs. Its assets come from a wheel, so it works offline."""

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from api.problem_types import PAGE, TYPES

ASSETS = "/docs/assets"

# Only the files: the package's own FastAPI class cannot be combined with the subclass in api.main.
_files = StaticFiles(directory=str(files("fastapi_offline") / "static"))
router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=request.app.title,
        swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
    )
    page.headers["Content-Security-Policy"] = policy(bytes(page.body))
    return page


@router.get(PAGE)
async def problems() -> HTMLResponse:
    rows = "".join(
        f'<tr id="{one.code}"><td><code>{one.code}</code><td>{one.status} {one.status.phrase}'
        f"<td>{escape(one.meaning)}<td>{escape(one.action)}"
        for one in TYPES.values()
    )
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Problems</title><h1>Problems</h1>'
        f"<table><tr><th>Code<th>Status<th>Meaning<th>What to do{rows}</table></html>"
    )


@router.get(ASSETS + "/{path:path}")
async def read_asset(path: str, request: Request) -> Response:
    # An invalid Range would be answered in plain text, which is no problem document.
    request.scope["headers"] = [header for header in request.scope["headers"] if header[0] != b"range"]
    return await _files.get_response(path, request.scope)


def policy(page: bytes) -> str:
    """Allow this server's files, images embedded in the style sheet, and the inline script by its hash."""
    (script,) = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(sha256(script).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
