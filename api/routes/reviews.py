"""Create, list, read, replace and delete reviews."""

from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic_core import to_json
from sqlalchemy import bindparam, select, tuple_
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from api import errors
from api.auth import Writer, admit_reader, admit_writer, writer
from api.bodies import json_route
from api.cursor import ReviewCursor
from api.database import SessionDep, Statement, fetch_all
from api.fields import MovieId
from api.idempotency import IdempotencyKey, earlier_answer
from api.links import next_page, path_to
from api.parameters import refuse_unknown_parameters
from api.preconditions import IfNoneMatch, PreconditionsDep, is_current
from api.reviews import (
    PUBLIC_COLUMNS,
    Review,
    ReviewCreate,
    ReviewPatch,
    ReviewPublic,
    ReviewsPublic,
    ReviewUpdate,
    public_fields,
)
from api.sentiments import Label

router = APIRouter(
    prefix="/api/reviews",
    tags=["reviews"],
    route_class=json_route(admit_writer),
    responses=errors.responses(401, 429, 503),
)
# After the admission, so that an invalid request is charged too.
Filter = Literal[Label, "pending"]
READ = [Depends(admit_reader), Depends(refuse_unknown_parameters)]
WRITE = [Depends(writer), Depends(refuse_unknown_parameters)]
CHANGED: dict[str, Any] = {
    "response_model": ReviewPublic,
    "dependencies": WRITE,
    "responses": errors.responses(403, 404, 408, 412, 413, 415, 422),
}
DELETED: dict[str, Any] = {
    "status_code": 204,
    "response_class": Response,  # without it FastAPI sends a Content-Type for the empty body
    "dependencies": WRITE,
    "responses": errors.responses(403, 404, 412, 422),
}


async def _found(movie_id: MovieId, review_id: UUID, session: SessionDep) -> Review:
    """The review in the path. Raises NotFoundError."""
    return _of_movie(movie_id, await _get(session, review_id))


async def _own(movie_id: MovieId, review_id: UUID, writer: Writer, session: SessionDep) -> Review:
    """The review in the path, locked for update. Raises ForbiddenError if the caller may not change it."""
    review = _of_movie(movie_id, await _get(session, review_id, with_for_update=True))
    writer.require_ownership(review.key_id)
    return review


async def _own_by_id(review_id: UUID, writer: Writer, session: SessionDep) -> Review:
    """The same for the short path, which has no movie."""
    review = await _get(session, review_id, with_for_update=True)
    writer.require_ownership(review.key_id)
    return review


async def _get(session: AsyncSession, review_id: UUID, with_for_update: bool = False) -> Review:
    review = await session.get(Review, review_id, with_for_update=with_for_update)
    if review is None:
        raise errors.NotFoundError(f"Review {review_id} does not exist.")
    return review


def _of_movie(movie_id: str, review: Review) -> Review:
    if review.movie_id != movie_id:
        raise errors.NotFoundError(f"{movie_id} has no review {review.id}.")
    return review


def _path(request: Request, review: Review | ReviewPublic) -> str:
    """The canonical path of a review, for all methods."""
    return path_to(request, "read_review", movie_id=review.movie_id, review_id=str(review.id))


FoundReview = Annotated[Review, Depends(_found)]
OwnReview = Annotated[Review, Depends(_own)]
OwnReviewById = Annotated[Review, Depends(_own_by_id)]


def _edit(request: Request, response: Response, review: Review, change: ReviewUpdate | ReviewPatch) -> Review:
    """Apply a change whose precondition is met. Raises RequestValidationError."""
    if changed := review.changed_read_only_fields(change):
        detail = f"This field of {_path(request, review)} is read-only: omit it, or send its current value"
        raise errors.invalid("body", changed, "read_only", detail)
    review.edit(change.edits())
    response.headers["ETag"] = review.etag
    response.headers["Content-Location"] = _path(request, review)
    return review


@router.post(
    "",
    status_code=201,
    response_model=ReviewPublic,
    dependencies=WRITE,
    responses=errors.responses(403, 408, 409, 413, 415, 422),
)
async def create_review(
    new: ReviewCreate,
    writer: Writer,
    session: SessionDep,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Review | ReviewPublic:
    written = Review.create(new, writer.owner)
    response.headers["ETag"] = written.etag
    review: Review | ReviewPublic = written
    if idempotency_key is not None:
        review = await earlier_answer(session, writer.name, idempotency_key, new, written) or written
    if review is written:
        session.add(written)
    response.headers["Location"] = _path(request, review)
    return review


@router.get(
    "/{movie_id}",
    response_model=ReviewsPublic,
    dependencies=READ,
    responses=errors.responses(404, 422),
)
async def list_reviews(
    movie_id: MovieId,
    request: Request,
    response: Response,
    sentiment: Annotated[
        Filter | None,
        Query(description="Only reviews with this sentiment; `pending` ones have none yet."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the previous page.")] = None,
) -> Response:
    """List the reviews of a movie, newest first; concurrent writes cause no gaps or duplicates."""
    listing = f"{movie_id}/{sentiment}"
    # One extra row tells whether there is a next page.
    parameters: dict[str, object] = {"movie": movie_id, "rows": limit + 1}
    if sentiment not in (None, "pending"):
        parameters["label"] = sentiment
    if cursor is not None:
        last = ReviewCursor.decode(cursor, listing)
        parameters |= {"created_at": last.created_at, "id": last.id}
    rows = await fetch_all(request, _page(sentiment, cursor is not None), parameters)
    items = [public_fields(row) for row in rows[:limit]]
    next_cursor = None
    if len(rows) > limit:
        next_cursor = ReviewCursor(items[-1]["created_at"], items[-1]["id"]).encode(listing)
        response.headers.update(next_page(request, next_cursor))
    # Not validated as ReviewPublic, because the database enforces the same constraints.
    page = to_json({"items": items, "next_cursor": next_cursor})
    return Response(page, headers=response.headers, media_type="application/json")


@cache
def _page(sentiment: Filter | None, after_a_cursor: bool) -> Statement:
    """Build the query once: building it takes longer than PostgreSQL takes to run it."""
    query = select(*PUBLIC_COLUMNS).where(col(Review.movie_id) == bindparam("movie"))
    place = col(Review.created_at), col(Review.id)
    if sentiment == "pending":
        query = query.where(col(Review.sentiment_label).is_(None))
    elif sentiment is not None:
        query = query.where(col(Review.sentiment_label) == bindparam("label"))
    if after_a_cursor:
        query = query.where(tuple_(*place) < tuple_(bindparam("created_at"), bindparam("id")))
    return query.order_by(*(column.desc() for column in place)).limit(bindparam("rows"))


@router.get(
    "/{movie_id}/{review_id}",
    response_model=ReviewPublic,
    dependencies=READ,
    responses={304: {"description": "Not Modified"}, **errors.responses(404, 422)},
)
async def read_review(
    review: FoundReview, response: Response, if_none_match: IfNoneMatch
) -> Review | Response:
    response.headers["ETag"] = review.etag
    if if_none_match is not None and is_current(review, if_none_match):
        return Response(status_code=304, headers=response.headers)
    return review


@router.put(
    "/{movie_id}/{review_id}",
    **CHANGED,
)
async def replace_review(
    update: ReviewUpdate,
    review: OwnReview,
    request: Request,
    response: Response,
    preconditions: PreconditionsDep,
) -> Review:
    """Replace author, text and rating. What was read may be sent back whole."""
    preconditions.require(review, _path(request, review))
    return _edit(request, response, review, update)


@router.patch(
    "/{movie_id}/{review_id}",
    **CHANGED,
)
async def change_review(
    patch: ReviewPatch,
    review: OwnReview,
    request: Request,
    response: Response,
    preconditions: PreconditionsDep,
) -> Review:
    """Change only the fields that are sent; `application/merge-patch+json` is accepted too."""
    preconditions.require(review, _path(request, review))
    return _edit(request, response, review, patch)


@router.delete(
    "/{movie_id}/{review_id}",
    **DELETED,
)
async def delete_review(
    review: OwnReview,
    session: SessionDep,
    request: Request,
    preconditions: PreconditionsDep,
) -> None:
    preconditions.require(review, _path(request, review))
    await session.delete(review)


@router.put(
    "/{review_id}",
    **CHANGED,
)
async def replace_review_by_id(
    update: ReviewUpdate,
    review: OwnReviewById,
    request: Request,
    response: Response,
    preconditions: PreconditionsDep,
) -> Review:
    """Like `replace_review`; Content-Location names the canonical path."""
    return await replace_review(update, review, request, response, preconditions)


@router.delete(
    "/{review_id}",
    **DELETED,
)
async def delete_review_by_id(
    review: OwnReviewById,
    session: SessionDep,
    request: Request,
    preconditions: PreconditionsDep,
) -> None:
    """Like `delete_review`."""
    await delete_review(review, session, request, preconditions)
