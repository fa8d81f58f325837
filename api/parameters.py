"""Query parameters that a route does not have, or that are repeated."""

from fastapi import Request

from api.errors import invalid


def refuse_unknown_parameters(request: Request) -> None:
    """Raise RequestValidationError: a misspelt filter would otherwise be ignored and list everything."""
    if not request.query_params:
        return
    operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
    if repeated := [name for name in known if len(request.query_params.getlist(name)) > 1]:
        raise invalid("query", repeated[:1], "repeated", "This parameter must not be repeated")
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        what = "the query parameters " + ", ".join(known) if known else "no query parameters"
        detail = f"This method of this path has {what}"
        raise invalid("query", unknown, "extra_forbidden", detail)
