"""The preconditions of a request about a review: If-Match and If-None-Match (RFC 9110, section 13)."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from api import etags
from api.errors import PreconditionFailedError
from api.reviews import Review


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The values of both headers; None for one that was not sent."""

    if_match: str | None
    if_none_match: str | None

    def require(self, review: Review, path: str) -> None:
        """Raise PreconditionFailedError unless the review at `path` may be changed.

        If-Match is met by any of its tags, or `*`; a new sentiment is not an edit. If-None-Match must not
        match.
        """
        if self.if_none_match is not None and is_current(review, self.if_none_match):
            raise PreconditionFailedError(
                f"If-None-Match matches {path}, whose ETag is {review.etag}. Use If-Match to change it."
            )
        if self.if_match is None or etags.is_any(self.if_match):
            return
        if not any(review.has_revision(tag) for tag in etags.listed(self.if_match)):
            raise PreconditionFailedError(
                f"{path} has been edited: its ETag is now {review.etag}. Read it again."
            )


def is_current(review: Review, if_none_match: str) -> bool:
    """Whether any of the tags in If-None-Match, or `*`, matches the review."""
    return etags.is_any(if_none_match) or review.etag in etags.listed(if_none_match)


def _if_none_match(
    request: Request,
    if_none_match: Annotated[
        str | None, Header(description="ETag of the cached copy; 304, or 412 for a change, if it is current.")
    ] = None,
) -> str | None:
    # FastAPI passes the first line only, and documents the header.
    return etags.header(request, "If-None-Match")


IfNoneMatch = Annotated[str | None, Depends(_if_none_match)]


def _preconditions(
    request: Request,
    if_none_match: IfNoneMatch,
    if_match: Annotated[
        str | None,
        Header(description="ETag of the version that was read; 412 if the review was edited since."),
    ] = None,
) -> Preconditions:
    return Preconditions(etags.header(request, "If-Match"), if_none_match)


PreconditionsDep = Annotated[Preconditions, Depends(_preconditions)]
