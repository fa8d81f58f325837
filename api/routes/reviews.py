"""Write, list, read, replace and delete reviews."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import errors
from api.auth import Writer, admitted
from api.bodies import JsonRoute
from api.cursor import ReviewCursor
from api.database import SessionDep
from api.idempotency import IdempotencyKey, first_answer
from api.models import Label, MovieId, Review, ReviewCreate, ReviewPublic, ReviewsPublic, ReviewUpdate

router = APIRouter(
    prefix="/api/reviews",
    tags=["reviews"],
    route_class=JsonRoute,
    responses=errors.responses(401, 429, 503),
)
READ = [Depends(admitted("read"))]


async def _found(review_id: UUID, session: SessionDep) -> Review:
    """The review that the path names."""
    return await _get(session, review_id)


async def _own(review_id: UUID, writer: Writer, session: SessionDep) -> Review:
    """The same, of whoever may change it, who waits for others that do."""
    review = await _get(session, review_id, with_for_update=True)
    writer.require_own(review.key_id)
    return review


async def _get(session: AsyncSession, review_id: UUID, with_for_update: bool = False) -> Review:
    review = await session.get(Review, review_id, with_for_update=with_for_update)
    if review is None:
        raise errors.NotFoundError(f"There is no review {review_id}.")
    return review


FoundReview = Annotated[Review, Depends(_found)]
OwnReview = Annotated[Review, Depends(_own)]
IfNoneMatch = Annotated[
    str | None, Header(description="ETag of the copy that you have; 304 when it is still good.")
]
IfMatch = Annotated[
    str | None, Header(description="ETag of the review as you know it; 412 when it has changed since.")
]


def _is_known(review: Review, if_none_match: str) -> bool:
    """RFC 9110, 13.1.2: any of the listed tags, weak or not, or `*`."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return not tags.isdisjoint({review.etag, "*"})


def _require_match(review: Review, if_match: str | None) -> None:
    """RFC 9110, 13.1.1: any of the listed tags, or `*`. A sentiment that came meanwhile is not an edit."""
    if if_match is None or if_match.strip() == "*":
        return
    if not any(review.is_edition(tag.strip()) for tag in if_match.split(",")):
        raise errors.PreconditionFailedError(
            f"The review has changed: its ETag is {review.etag}. Read it again."
        )


@router.post(
    "", status_code=201, response_model=ReviewPublic, responses=errors.responses(403, 409, 413, 415, 422)
)
async def create_review(
    new: ReviewCreate,
    writer: Writer,
    session: SessionDep,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Review | ReviewPublic:
    written = Review.written(new, writer.key_id)
    response.headers["ETag"] = written.etag
    review: Review | ReviewPublic = written
    if idempotency_key is not None:
        review = await first_answer(session, writer.name, idempotency_key, new, written) or written
    if review is written:
        session.add(written)
    response.headers["Location"] = request.app.url_path_for(
        "read_review", movie_id=review.movie_id, review_id=str(review.id)
    )
    return review


@router.get("/{movie_id}", dependencies=READ, responses=errors.responses(404, 422))
async def list_reviews(
    movie_id: MovieId,
    session: SessionDep,
    sentiment: Annotated[Label | None, Query(description="Only reviews that the model finds so.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> ReviewsPublic:
    """Reviews of a movie, newest first; none is skipped or repeated while others are written."""
    listing = f"{movie_id}/{sentiment}"
    query = select(Review).where(Review.movie_id == movie_id)
    if sentiment is not None:
        query = query.where(Review.sentiment_label == sentiment)
    if cursor is not None:
        last = ReviewCursor.decode(cursor, listing)
        query = query.where(tuple_(col(Review.created_at), col(Review.id)) < (last.created_at, last.id))
    query = query.order_by(col(Review.created_at).desc(), col(Review.id).desc())
    # One row too many tells whether there is a next page.
    rows = (await session.exec(query.limit(limit + 1))).all()
    page = [ReviewPublic.model_validate(review) for review in rows[:limit]]
    next_cursor = (
        ReviewCursor(page[-1].created_at, page[-1].id).encode(listing) if len(rows) > limit else None
    )
    return ReviewsPublic(items=page, next_cursor=next_cursor)


@router.get(
    "/{movie_id}/{review_id}",
    response_model=ReviewPublic,
    dependencies=READ,
    responses={304: {"description": "Not Modified"}, **errors.responses(404)},
)
async def read_review(
    movie_id: MovieId, review: FoundReview, response: Response, if_none_match: IfNoneMatch = None
) -> Review | Response:
    if review.movie_id != movie_id:
        raise errors.NotFoundError(f"There is no review {review.id} of {movie_id}.")
    response.headers["ETag"] = review.etag
    if if_none_match is not None and _is_known(review, if_none_match):
        return Response(status_code=304, headers=response.headers)
    return review


@router.put(
    "/{review_id}", response_model=ReviewPublic, responses=errors.responses(403, 404, 412, 413, 415, 422)
)
async def replace_review(
    update: ReviewUpdate, review: OwnReview, response: Response, if_match: IfMatch = None
) -> Review:
    _require_match(review, if_match)
    review.replace(update)
    response.headers["ETag"] = review.etag
    return review


# Without a response class FastAPI gives the empty body a content type.
@router.delete(
    "/{review_id}",
    status_code=204,
    response_class=Response,
    responses=errors.responses(403, 404, 412),
)
async def delete_review(review: OwnReview, session: SessionDep, if_match: IfMatch = None) -> None:
    _require_match(review, if_match)
    await session.delete(review)
