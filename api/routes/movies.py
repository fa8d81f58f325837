"""Movies that have reviews, with their statistics."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import StringConstraints
from sqlalchemy import tuple_
from sqlmodel import col, select

from api import errors
from api.auth import admit_reader
from api.cursor import MovieCursor
from api.database import SessionDep
from api.fields import MovieId
from api.links import next_page
from api.movies import Movie, MovieMonth, MoviePublic, MoviesPublic, MovieSummary
from api.parameters import refuse_unknown_parameters

router = APIRouter(
    prefix="/api/movies",
    tags=["movies"],
    # In this order, so that an invalid request is charged too.
    dependencies=[Depends(admit_reader), Depends(refuse_unknown_parameters)],
    responses=errors.responses(401, 429, 503),
)

Sort = Literal["reviews", "positive", "rating"]
Prefix = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,64}$"),
    Query(description="Only movies whose id starts with this."),
]

KEYS: dict[Sort, Any] = {
    "reviews": col(Movie.reviews),
    "positive": col(Movie.positive_key),
    "rating": col(Movie.rating_key),
}


@router.get("", responses=errors.responses(422))
async def list_movies(
    session: SessionDep,
    request: Request,
    response: Response,
    prefix: Prefix = "",
    sort: Annotated[
        Sort, Query(description="Most reviews, largest share of positive reviews, or best mean rating first.")
    ] = "reviews",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the previous page.")] = None,
) -> MoviesPublic:
    """List movies with reviews. A movie whose figures change meanwhile may move to another page."""
    listing = f"movies/{sort}/{prefix}"
    key, movie_id = KEYS[sort], col(Movie.movie_id)
    query = select(Movie, key).where(col(Movie.reviews) > 0)
    if prefix:
        query = query.where(movie_id.startswith(prefix, autoescape=True))
    if cursor is not None:
        last = MovieCursor.decode(cursor, listing)
        query = query.where(tuple_(key, movie_id) < (last.key, last.movie_id))
    # One extra row tells whether there is a next page.
    rows = (await session.exec(query.order_by(key.desc(), movie_id.desc()).limit(limit + 1))).all()
    page = [MoviePublic.model_validate(movie) for movie, _ in rows[:limit]]
    next_cursor = None
    if len(rows) > limit:
        movie, value = rows[limit - 1]
        next_cursor = MovieCursor(float(value), movie.movie_id).encode(listing)
        response.headers.update(next_page(request, next_cursor))
    return MoviesPublic(items=page, next_cursor=next_cursor)


@router.get("/{movie_id}", responses=errors.responses(404, 422))
async def read_movie(movie_id: MovieId, session: SessionDep) -> MovieSummary:
    movie = await session.get(Movie, movie_id)
    if movie is None or movie.reviews == 0:
        raise errors.NotFoundError(f"{movie_id} has no reviews.")
    reviews = col(MovieMonth.reviews)
    query = select(col(MovieMonth.month), reviews, col(MovieMonth.positive), col(MovieMonth.negative))
    query = query.where(MovieMonth.movie_id == movie_id, reviews > 0)
    months = (await session.exec(query.order_by(col(MovieMonth.month)))).all()
    return MovieSummary.model_validate(
        movie,
        update={
            "months": [
                {"month": f"{month:%Y-%m}", "reviews": count, "positive": positive, "negative": negative}
                for month, count, positive, negative in months
            ]
        },
    )
