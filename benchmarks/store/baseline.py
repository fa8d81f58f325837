"""A minimal server with the same response to `GET /api/reviews/{movie_id}` as the API: Starlette and asyncpg.

Run it with `uvicorn --factory benchmarks.store.baseline:create_app`, and DATABASE_URL and POOL_SIZE in the
environment.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.cursor import ReviewCursor

SQL = """
    SELECT id, movie_id, author, text, rating, sentiment_label, sentiment_score, sentiment_model_version,
           created_at, updated_at
    FROM review WHERE movie_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2
"""


async def list_reviews(request: Request) -> Response:
    movie_id, limit = request.path_params["movie_id"], int(request.query_params["limit"])
    rows = await request.app.state.pool.fetch(SQL, movie_id, limit + 1)
    next_cursor = None
    if len(rows) > limit:
        last = rows[limit - 1]
        next_cursor = ReviewCursor(last["created_at"], last["id"]).encode(f"{movie_id}/None")
    content = to_json({"items": [item(row) for row in rows[:limit]], "next_cursor": next_cursor})
    return Response(content, media_type="application/json")


def item(row: Any) -> dict[str, object]:
    label = row["sentiment_label"]
    return {
        "id": row["id"],
        "movie_id": row["movie_id"],
        "author": row["author"],
        "text": row["text"],
        "rating": row["rating"],
        "sentiment": None
        if label is None
        else {
            "label": label,
            "score": row["sentiment_score"],
            "model_version": row["sentiment_model_version"],
        },
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def create_app() -> Starlette:
    url, size = os.environ["DATABASE_URL"], int(os.environ["POOL_SIZE"])

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, min_size=size, max_size=size) as app.state.pool:
            yield

    return Starlette(routes=[Route("/api/reviews/{movie_id}", list_reviews)], lifespan=lifespan)
