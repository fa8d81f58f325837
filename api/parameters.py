"""Query parameters that a route does not have."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError


def refuse_unknown_parameters(request: Request) -> None:
    """Raise RequestValidationError: a misspelt filter would otherwise be ignored and list everything."""
    if not request.query_params:
        return
    operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        what = "the query parameters " + ", ".join(known) if known else "no query parameters"
        detail = f"This method of this path has {what}"
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", name), "msg": detail} for name in unknown]
        )
