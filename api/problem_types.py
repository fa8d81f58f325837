"""The types of problems that the API responds with. Clients depend on the codes and their meaning."""

from dataclasses import dataclass
from http import HTTPStatus

PAGE = "/docs/problems"
"""Where the API describes them; the `type` of a problem is this path and the code as its fragment."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """`action` says what a client does about it."""

    code: str
    status: HTTPStatus
    meaning: str
    action: str

    def uri(self, root_path: str) -> str:
        return f"{root_path.rstrip('/')}{PAGE}#{self.code}"


TYPES = {
    one.code: one
    for one in (
        ProblemType(
            "invalid_request",
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The body, a header or a query parameter is invalid.",
            "Correct the fields in `errors`; each has a `code` of its own.",
        ),
        ProblemType(
            "key_required",
            HTTPStatus.UNAUTHORIZED,
            "The request needs an API key.",
            "Send `Authorization: Bearer <key>`.",
        ),
        ProblemType(
            "key_invalid",
            HTTPStatus.UNAUTHORIZED,
            "The API key is malformed, unknown, revoked or expired.",
            "Ask the operator for a key, or omit it where none is needed.",
        ),
        ProblemType(
            "scope_missing",
            HTTPStatus.FORBIDDEN,
            "The API key lacks the scope of this operation.",
            "Use a key with the scope that `detail` names.",
        ),
        ProblemType(
            "not_owner",
            HTTPStatus.FORBIDDEN,
            "The review belongs to the owner of other keys.",
            "Use a key of the author, or one with the scope `admin`.",
        ),
        ProblemType(
            "not_found",
            HTTPStatus.NOT_FOUND,
            "The path does not exist, or nothing is stored there.",
            "Do not repeat the request.",
        ),
        ProblemType(
            "method_not_allowed",
            HTTPStatus.METHOD_NOT_ALLOWED,
            "The path exists, but not with this method.",
            "Use a method of the header `Allow`.",
        ),
        ProblemType(
            "body_timeout",
            HTTPStatus.REQUEST_TIMEOUT,
            "The body did not arrive in time.",
            "Repeat the request over a faster connection.",
        ),
        ProblemType(
            "key_reused",
            HTTPStatus.CONFLICT,
            "The Idempotency-Key was used for another body.",
            "Use a new Idempotency-Key for each request that is not a repetition.",
        ),
        ProblemType(
            "edited",
            HTTPStatus.PRECONDITION_FAILED,
            "The review is not the version that If-Match or If-None-Match requires.",
            "Read it again, repeat the change, and send the new ETag.",
        ),
        ProblemType(
            "body_too_large",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The body has more bytes than this path accepts.",
            "Send less, or several batches.",
        ),
        ProblemType(
            "media_type",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body is not JSON, or is compressed.",
            "Send `Content-Type: application/json` without `Content-Encoding`.",
        ),
        ProblemType(
            "rate_limited",
            HTTPStatus.TOO_MANY_REQUESTS,
            "The caller is over a rate limit.",
            "Wait for the seconds in `Retry-After`.",
        ),
        ProblemType(
            "internal_error",
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "The API has a fault.",
            "Report the `request_id` to the operator.",
        ),
        ProblemType(
            "model_failed",
            HTTPStatus.BAD_GATEWAY,
            "The model service gave an invalid answer.",
            "Report the `request_id` to the operator.",
        ),
        ProblemType(
            "unavailable",
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The database or the model service is down or busy.",
            "Repeat the request after the seconds in `Retry-After`.",
        ),
        ProblemType(
            "model_timeout",
            HTTPStatus.GATEWAY_TIMEOUT,
            "The model service took too long.",
            "Repeat the request later, or with fewer texts.",
        ),
    )
}


def of_status(status: int) -> ProblemType:
    """Return the first type with this status, or `internal_error` for a status that no type has."""
    return next((one for one in TYPES.values() if one.status == status), TYPES["internal_error"])
