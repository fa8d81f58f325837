"""/api/movies: statistics that database triggers keep exact."""

import asyncio
import random
from typing import Any

import asyncpg
import httpx
import pytest

from api.cursor import MovieCursor
from tests.api.requests import create, faults, problem
from tests.postgres import plain

RECOMPUTED = """
SELECT movie_id, count(*) AS reviews, count(*) FILTER (WHERE sentiment_label = 'positive') AS positive,
    count(*) FILTER (WHERE sentiment_label = 'negative') AS negative,
    count(rating) AS ratings, coalesce(sum(rating), 0) AS rating_sum{month}
FROM review GROUP BY movie_id{by} ORDER BY movie_id{by}
"""
STORED = """
SELECT {keys}, reviews, positive, negative, ratings, rating_sum FROM {table} WHERE reviews > 0 ORDER BY {keys}
"""


async def write(client: httpx.AsyncClient, movie_id: str, rating: int | None = None) -> dict[str, Any]:
    return await create(client, movie_id=movie_id, rating=rating)


async def store_sentiment(sql: asyncpg.Connection, review: dict[str, Any], label: str) -> None:
    """Store a sentiment, as the worker does."""
    await sql.execute(
        "UPDATE review SET sentiment_label = $2, sentiment_score = 0.9, sentiment_model_version = '1'"
        " WHERE id = $1::uuid",
        review["id"],
        label,
    )


async def movies(client: httpx.AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    response = await client.get("/api/movies", params=parameters)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def assert_exact(sql: asyncpg.Connection) -> None:
    """The stored statistics equal those computed from all reviews."""
    month = "date_trunc('month', created_at AT TIME ZONE 'UTC')::date"
    assert [tuple(row) for row in await sql.fetch(STORED.format(keys="movie_id", table="movie"))] == [
        tuple(row) for row in await sql.fetch(RECOMPUTED.format(month="", by=""))
    ]
    kept = await sql.fetch(STORED.format(keys="movie_id, month", table="movie_month"))
    counted = await sql.fetch(RECOMPUTED.format(month=f", {month} AS month", by=", month"))
    names = ("movie_id", "month", "reviews", "positive", "negative", "ratings", "rating_sum")
    assert [[row[name] for name in names] for row in kept] == [
        [row[name] for name in names] for row in counted
    ]


async def test_a_movie_summarizes_its_reviews(client: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    reviews = [await write(client, "tt1", rating) for rating in (9, 4, None)]
    for review, label in zip(reviews, ("positive", "negative", "positive"), strict=True):
        await store_sentiment(sql, review, label)
    await sql.execute("UPDATE review SET created_at = '2025-03-31 23:30-02' WHERE rating = 4")
    found = (await client.get("/api/movies/tt1")).json()
    this_month = found["months"][-1]["month"]
    assert found == {
        "movie_id": "tt1",
        "reviews": 3,
        "positive": 2,
        "negative": 1,
        "share_positive": pytest.approx(2 / 3),
        "mean_rating": 6.5,
        "months": [
            {"month": "2025-04", "reviews": 1, "positive": 0, "negative": 1},
            {"month": this_month, "reviews": 2, "positive": 2, "negative": 0},
        ],
    }
    assert (await movies(client)) == [{name: found[name] for name in found if name != "months"}]


async def test_edits_and_deletions_update_the_statistics(
    client: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    first, second = await write(client, "tt1", 2), await write(client, "tt1")
    await store_sentiment(sql, first, "positive")
    edited = {"author": "Ada", "text": "Bad.", "rating": 8}
    assert (await client.put(f"/api/reviews/{first['id']}", json=edited)).status_code == 200
    found = (await client.get("/api/movies/tt1")).json()
    assert (found["positive"], found["share_positive"], found["mean_rating"]) == (0, None, 8)
    assert (await client.delete(f"/api/reviews/{first['id']}")).status_code == 204
    found = (await client.get("/api/movies/tt1")).json()
    assert (found["reviews"], found["mean_rating"]) == (1, None)
    assert (await client.delete(f"/api/reviews/{second['id']}")).status_code == 204
    assert "tt1" in problem(await client.get("/api/movies/tt1"), 404)["detail"]
    assert await movies(client) == []


async def test_a_movie_without_reviews_is_404(client: httpx.AsyncClient) -> None:
    problem(await client.get("/api/movies/tt404"), 404)
    problem(await client.get("/api/movies/tt%20404"), 404)


@pytest.mark.parametrize(
    ("sort", "order"),
    [("reviews", ["b", "c", "a"]), ("positive", ["a", "b", "c"]), ("rating", ["c", "a", "b"])],
)
async def test_movies_without_a_sort_key_come_last(
    client: httpx.AsyncClient, sql: asyncpg.Connection, sort: str, order: list[str]
) -> None:
    for movie_id, rating, label in (
        ("a", 5, "positive"),
        ("b", None, "positive"),
        ("b", None, "negative"),
        ("b", None, None),
        ("c", 9, None),
        ("c", 8, None),
    ):
        review = await write(client, movie_id, rating)
        if label:
            await store_sentiment(sql, review, label)
    assert [movie["movie_id"] for movie in await movies(client, sort=sort)] == order


@pytest.mark.parametrize("sort", ["reviews", "positive", "rating"])
async def test_pages_contain_each_movie_once(
    client: httpx.AsyncClient, sql: asyncpg.Connection, sort: str
) -> None:
    order = random.Random(4)
    for number in range(23):
        for _ in range(order.choice((1, 1, 2))):
            review = await write(client, f"tt{number}", order.choice((None, 3, 7)))
            await store_sentiment(sql, review, order.choice(("positive", "negative")))
    whole = await movies(client, sort=sort, limit=100)
    paged, parameters = [], {"sort": sort, "limit": "5"}
    while True:
        page = (await client.get("/api/movies", params=parameters)).json()
        paged += page["items"]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert paged == whole
    assert len(whole) == 23


async def test_a_prefix_is_matched_literally(client: httpx.AsyncClient) -> None:
    for movie_id in ("tt_1", "ttx1", "TT_1", "tt", "t"):
        await write(client, movie_id)
    for prefix, expected in (("tt_", {"tt_1"}), ("tt", {"tt", "tt_1", "ttx1"}), ("no", set())):
        assert {movie["movie_id"] for movie in await movies(client, prefix=prefix)} == expected


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"sort": "title"}, "sort"),
        ({"prefix": "tt%"}, "prefix"),
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
    ],
)
async def test_an_invalid_parameter_is_named(
    client: httpx.AsyncClient, parameters: dict[str, str], field: str
) -> None:
    errors = problem(await client.get("/api/movies", params=parameters), 422)["errors"]
    assert [error["field"] for error in errors] == [field]


async def test_a_cursor_is_valid_only_in_its_own_list(client: httpx.AsyncClient) -> None:
    for number in range(3):
        await write(client, f"tt{number}")
    cursor = (await client.get("/api/movies?limit=1")).json()["next_cursor"]
    assert (await client.get("/api/movies", params={"limit": 1, "cursor": cursor})).status_code == 200
    for parameters in (
        {"sort": "rating", "cursor": cursor},
        {"prefix": "t", "cursor": cursor},
        {"cursor": cursor[:-1]},
        {"cursor": "A" + cursor[1:]},
        {"cursor": "é"},
        {"cursor": ""},
    ):
        assert list(faults(await client.get("/api/movies", params=parameters))) == ["query.cursor"]


async def test_the_statistics_stay_exact_under_concurrent_writes(
    client: httpx.AsyncClient, sql: asyncpg.Connection, database_url: str
) -> None:
    """Eight clients and two workers write to three movies in random order, without a deadlock."""

    async def write_reviews(seed: int) -> None:
        order = random.Random(seed)
        own: list[dict[str, Any]] = []
        for _ in range(25):
            action = order.random()
            if action < 0.5 or not own:
                own.append(await write(client, f"tt{order.randrange(3)}", order.choice((None, 1, 10))))
            elif action < 0.8:
                body = {"author": "Ada", "text": f"Good {order.random()}.", "rating": order.choice((None, 5))}
                path = f"/api/reviews/{order.choice(own)['id']}"
                assert (await client.put(path, json=body)).status_code == 200
            else:
                review = own.pop(order.randrange(len(own)))
                assert (await client.delete(f"/api/reviews/{review['id']}")).status_code == 204

    async def store_sentiments(label: str, writing: asyncio.Future[list[None]]) -> None:
        connection = await asyncpg.connect(plain(database_url))
        try:
            while not writing.done():
                await connection.execute(
                    "UPDATE review SET sentiment_label = $1, sentiment_score = 1,"
                    " sentiment_model_version = '1'"
                    " WHERE id IN (SELECT id FROM review ORDER BY random() LIMIT 20 FOR UPDATE SKIP LOCKED)",
                    label,
                )
        finally:
            await connection.close()

    writing = asyncio.gather(*(write_reviews(seed) for seed in range(8)))
    await asyncio.gather(
        writing, store_sentiments("positive", writing), store_sentiments("negative", writing)
    )
    await assert_exact(sql)
    assert await sql.fetchval("SELECT count(*) FROM movie WHERE reviews > 0 AND positive + negative > 0") > 0


async def test_a_forged_cursor_that_holds_nul_is_422(client: httpx.AsyncClient) -> None:
    forged = MovieCursor(1.0, "tt1\0").encode("movies/reviews/")
    response = await client.get("/api/movies", params={"cursor": forged})
    assert list(faults(response)) == ["query.cursor"]
