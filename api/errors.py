"""Exceptions that carry an HTTP status, and the handler that renders them as RFC 9457 problems."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from api.problem_types import PAGE, TYPES, ProblemType, of_status

MEDIA_TYPE = "application/problem+json"
MAX_FIELD_ERRORS = 20
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class FieldError(BaseModel):
    """One invalid part of the request."""

    location: str = Field(serialization_alias="in", examples=["body"])
    field: str = Field(description="Path within that location, joined with dots.", examples=["rating"])
    code: str = Field(description="A stable word for programs.", examples=["less_than_equal"])
    detail: str = Field(examples=["Input should be less than or equal to 10"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(
        description="A path whose page describes the problem.", examples=[f"{PAGE}#invalid_request"]
    )
    code: str = Field(description="A stable word for programs.", examples=["invalid_request"])
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The request is invalid: see errors."])
    request_id: str | None = Field(default=None, description="As in X-Request-ID and in the logs.")
    errors: list[FieldError] | None = Field(default=None, description="Only if the request is invalid.")


class ApiError(Exception):
    """Base class of errors with a type of api.problem_types; `headers` are added to the response."""

    code = "internal_error"

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers


class ClientGoneError(ApiError):
    """The client disconnected. Only logs and metrics see this response."""

    code = "body_timeout"


class UnauthorizedError(ApiError):
    """`error` is a code of RFC 6750, section 3.1; None if the request had no credentials."""

    def __init__(self, detail: str, error: str | None = None) -> None:
        super().__init__(detail, {"WWW-Authenticate": f'Bearer error="{error}"' if error else "Bearer"})
        self.code = "key_invalid" if error else "key_required"


class ForbiddenError(ApiError):
    code = "not_owner"


class ScopeMissingError(ApiError):
    code = "scope_missing"


class NotFoundError(ApiError):
    code = "not_found"


class PreconditionFailedError(ApiError):
    code = "edited"


class ConflictError(ApiError):
    code = "key_reused"


class UnsupportedMediaTypeError(ApiError):
    code = "media_type"


class TooManyRequestsError(ApiError):
    code = "rate_limited"


class BadGatewayError(ApiError):
    code = "model_failed"


class UnavailableError(ApiError):
    code = "unavailable"

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        """`retry_after` in seconds."""
        super().__init__(detail, {"Retry-After": str(retry_after)})
        self.retry_after = retry_after


class GatewayTimeoutError(ApiError):
    code = "model_timeout"


def invalid(location: str, fields: Sequence[str], code: str, detail: str) -> RequestValidationError:
    """Return the error for invalid fields: `location` is body, query, header or path."""
    return RequestValidationError(
        [{"type": code, "loc": (location, field), "msg": detail} for field in fields]
    )


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def install(app: FastAPI) -> None:
    """Render every error of `app` as a problem, including those of routing and validation."""
    for kind in (ApiError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _handle)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` parameter of a route that can answer with these problems."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


async def _handle(request: Request, error: Exception) -> ProblemResponse:
    match error:
        case ApiError():
            return _respond(request, TYPES[error.code], error.detail, error.headers)
        case RequestValidationError():
            return _invalid(request, error)
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST):
            # FastAPI's 400 means that the body is not UTF-8, is nested too deeply or has a huge number.
            return _respond(request, TYPES["invalid_request"], "The body is not valid JSON in UTF-8.")
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            allow = _allowed(request)
            detail = f"This path supports {allow}."
            return _respond(request, TYPES["method_not_allowed"], detail, {"Allow": allow})
        case HTTPException():
            return _respond(request, of_status(error.status_code), error.detail, error.headers)
        case _:
            # Starlette's outermost middleware logs the traceback after this response has been sent.
            return _respond(request, TYPES["internal_error"], "Internal error; it has been logged.")


def _allowed(request: Request) -> str:
    """Return the methods of every route with this path; Starlette lists only those of the first."""
    scope = {key: request.scope[key] for key in ("type", "path", "root_path", "headers")}
    routes = request.app.routes
    allowed = [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    # api.headers answers HEAD as GET.
    return ", ".join(["HEAD", *allowed] if "GET" in allowed else allowed)


def _invalid(request: Request, error: RequestValidationError) -> ProblemResponse:
    """Respond 422, or 404 if the path itself is invalid."""
    found = error.errors()
    fields = [_field_error(one) for one in found[:MAX_FIELD_ERRORS]]
    if any(field.location == "path" for field in fields):
        detail = "No resource can have this path: see errors."
        return _respond(request, TYPES["not_found"], detail, errors=fields)
    return _respond(request, TYPES["invalid_request"], "The request is invalid: see errors.", errors=fields)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    location, *path = error["loc"]
    if error["type"] == "json_invalid":
        detail = f"Invalid JSON at character {path[0]}: {error['ctx']['error']}"
        return FieldError(location="body", field="", code="json_invalid", detail=detail)
    field = ".".join(map(str, path))
    return FieldError(location=location, field=field, code=error["type"], detail=error["msg"])


def _respond(
    request: Request,
    kind: ProblemType,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldError] | None = None,
) -> ProblemResponse:
    problem = Problem(
        type=kind.uri(request.scope.get("root_path", "")),
        code=kind.code,
        title=kind.status.phrase,
        status=kind.status,
        detail=detail,
        request_id=correlation_id.get(),
        errors=None if errors is None else list(errors),
    )
    return ProblemResponse(problem.model_dump(by_alias=True, exclude_none=True), kind.status, headers)
