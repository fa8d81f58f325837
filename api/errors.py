"""Exceptions that carry an HTTP status, and the handler that renders them as RFC 9457 problems."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

MEDIA_TYPE = "application/problem+json"
MAX_FIELD_ERRORS = 20
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class FieldError(BaseModel):
    """One invalid part of the request."""

    location: str = Field(serialization_alias="in", examples=["body"])
    field: str = Field(description="Path within that location, joined with dots.", examples=["rating"])
    detail: str = Field(examples=["Input should be less than or equal to 10"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The request is invalid: see errors."])
    errors: list[FieldError] | None = Field(default=None, description="Only if the request is invalid.")


class ApiError(Exception):
    """Base class of errors with an HTTP status; `headers` are added to the response."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers


class ClientGoneError(ApiError):
    """The client disconnected. Only logs and metrics see this status."""

    status = HTTPStatus.REQUEST_TIMEOUT


class UnauthorizedError(ApiError):
    """`error` is a code of RFC 6750, section 3.1; None if the request had no credentials."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, detail: str, error: str | None = None) -> None:
        super().__init__(detail, {"WWW-Authenticate": f'Bearer error="{error}"' if error else "Bearer"})


class ForbiddenError(ApiError):
    status = HTTPStatus.FORBIDDEN


class NotFoundError(ApiError):
    status = HTTPStatus.NOT_FOUND


class PreconditionFailedError(ApiError):
    status = HTTPStatus.PRECONDITION_FAILED


class ConflictError(ApiError):
    status = HTTPStatus.CONFLICT


class UnsupportedMediaTypeError(ApiError):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class UnprocessableError(ApiError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooManyRequestsError(ApiError):
    status = HTTPStatus.TOO_MANY_REQUESTS


class BadGatewayError(ApiError):
    status = HTTPStatus.BAD_GATEWAY


class UnavailableError(ApiError):
    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        """`retry_after` in seconds."""
        super().__init__(detail, {"Retry-After": str(retry_after)})
        self.retry_after = retry_after


class GatewayTimeoutError(ApiError):
    status = HTTPStatus.GATEWAY_TIMEOUT


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
            return _respond(error.status, error.detail, error.headers)
        case RequestValidationError():
            return _invalid(error)
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST):
            # FastAPI's 400 means that the body is not UTF-8, is nested too deeply or has a huge number.
            return _respond(HTTPStatus.UNPROCESSABLE_ENTITY, "The body is not valid JSON in UTF-8.")
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            allow = _allowed(request)
            return _respond(HTTPStatus.METHOD_NOT_ALLOWED, f"This path supports {allow}.", {"Allow": allow})
        case HTTPException():
            return _respond(HTTPStatus(error.status_code), error.detail, error.headers)
        case _:
            # Starlette's outermost middleware logs the traceback after this response has been sent.
            return _respond(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error; it has been logged.")


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


def _invalid(error: RequestValidationError) -> ProblemResponse:
    """Respond 422, or 404 if the path itself is invalid."""
    found = error.errors()
    fields = [_field_error(one) for one in found[:MAX_FIELD_ERRORS]]
    if any(field.location == "path" for field in fields):
        return _respond(HTTPStatus.NOT_FOUND, "No resource can have this path: see errors.", errors=fields)
    return _respond(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is invalid: see errors.", errors=fields)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    location, *path = error["loc"]
    if error["type"] == "json_invalid":
        detail = f"Invalid JSON at character {path[0]}: {error['ctx']['error']}"
        return FieldError(location="body", field="", detail=detail)
    return FieldError(location=location, field=".".join(map(str, path)), detail=error["msg"])


def _respond(
    status: HTTPStatus,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldError] | None = None,
) -> ProblemResponse:
    problem = Problem(
        title=status.phrase, status=status, detail=detail, errors=None if errors is None else list(errors)
    )
    return ProblemResponse(problem.model_dump(by_alias=True, exclude_none=True), status, headers)
