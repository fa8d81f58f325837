"""Errors that carry their HTTP status, and the one handler that turns them into RFC 9457 problems."""

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
    """Where in the request the fault is, and what would be accepted there."""

    location: str = Field(serialization_alias="in", examples=["body"])
    field: str = Field(description="Path inside that location, joined with dots.", examples=["rating"])
    detail: str = Field(examples=["Input should be less than or equal to 10"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The request is not valid: see errors."])
    errors: list[FieldError] | None = Field(default=None, description="Only for an invalid request.")


class ApiError(Exception):
    """Base of what the API refuses; a subclass is one way to fail. `headers` go into the answer."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers


class ClientGoneError(ApiError):
    """Nobody is there to read it; a log of requests may tell it from a failure."""

    status = HTTPStatus.REQUEST_TIMEOUT


class UnauthorizedError(ApiError):
    """`error` is one of RFC 6750, 3.1; none when there were no credentials at all."""

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
    """Make every failure of `app` a problem, those of routing and validation included."""
    for kind in (ApiError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _handle)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


async def _handle(request: Request, error: Exception) -> ProblemResponse:
    match error:
        case ApiError():
            return _respond(error.status, error.detail, error.headers)
        case RequestValidationError():
            return _invalid(error)
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST):
            # FastAPI says 400 when a body is no UTF-8, is nested too deeply or holds an endless number.
            return _respond(HTTPStatus.UNPROCESSABLE_ENTITY, "The body is not readable as JSON in UTF-8.")
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            allow = _allowed(request)
            return _respond(HTTPStatus.METHOD_NOT_ALLOWED, f"This path takes {allow}.", {"Allow": allow})
        case HTTPException():
            return _respond(HTTPStatus(error.status_code), error.detail, error.headers)
        case _:
            # Starlette's outermost layer logs the traceback after this answer has been sent.
            return _respond(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed; this is logged.")


def _allowed(request: Request) -> str:
    """Starlette names the methods of the first route that fits the path; here several share one."""
    scope = {key: request.scope[key] for key in ("type", "path", "root_path", "headers")}
    routes = request.app.routes
    return ", ".join(
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    )


def _invalid(error: RequestValidationError) -> ProblemResponse:
    """422; or 404 when it is the path that is not valid, because nothing can live there."""
    found = error.errors()
    fields = [_field_error(one) for one in found[:MAX_FIELD_ERRORS]]
    if any(field.location == "path" for field in fields):
        return _respond(HTTPStatus.NOT_FOUND, "Nothing can be at this path: see errors.", errors=fields)
    return _respond(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not valid: see errors.", errors=fields)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    location, *path = error["loc"]
    if error["type"] == "json_invalid":
        where = f"at character {path[0]}"
        return FieldError(location="body", field="", detail=f"Not JSON {where}: {error['ctx']['error']}")
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
