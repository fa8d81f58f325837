import json
from pathlib import Path

import httpx
import pytest

from deploy.local.demo import DEMO_AUTHOR, create_and_analyze
from deploy.local.load import CONCURRENCY, load_reviews, read_reviews
from deploy.local.settings import StackError

REVIEWS = [(f"movie-{number % 3}", f"text {number}") for number in range(250)]


class FakeApi:
    """The endpoints that the demo uses, in memory: pages with the newest review first."""

    def __init__(self) -> None:
        self.reviews: list[dict[str, str]] = []
        self.in_flight = self.max_in_flight = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/reviews").strip("/")
        if request.method == "GET":
            return self.page(path, int(request.url.params["limit"]), int(request.url.params.get("cursor", 0)))
        if request.method == "DELETE":
            self.reviews = [review for review in self.reviews if review["id"] != path]
            return httpx.Response(204)
        if request.url.path == "/api/analyze":
            return httpx.Response(200, json={"label": "positive", "score": 0.9, "model_version": "1"})
        review = json.loads(request.content) | {"id": str(len(self.reviews))}
        self.reviews.insert(0, review)
        return httpx.Response(201, json=review)

    def page(self, movie: str, limit: int, begin: int) -> httpx.Response:
        found = [review for review in self.reviews if review["movie_id"] == movie]
        cursor = str(begin + limit) if begin + limit < len(found) else None
        return httpx.Response(200, json={"items": found[begin : begin + limit], "next_cursor": cursor})

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.count_and_answer), base_url="http://api")

    async def count_and_answer(self, request: httpx.Request) -> httpx.Response:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self.answer(request)
        finally:
            self.in_flight -= 1


async def test_every_review_is_loaded_once() -> None:
    api = FakeApi()
    async with api.client() as client:
        assert await load_reviews(client, REVIEWS) == 250
        assert await load_reviews(client, REVIEWS) == 0
    assert sorted((review["movie_id"], review["text"]) for review in api.reviews) == sorted(REVIEWS)
    assert api.max_in_flight <= CONCURRENCY


async def test_a_second_load_completes_an_interrupted_one() -> None:
    api = FakeApi()
    async with api.client() as client:
        await load_reviews(client, REVIEWS[:100])
        api.reviews.append({"id": "x", "movie_id": "movie-0", "text": REVIEWS[150][1], "author": "a person"})
        assert await load_reviews(client, REVIEWS) == 150


async def test_the_first_error_is_raised_with_the_response() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"title": "database is down"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(broken), base_url="http://api") as client:
        with pytest.raises(StackError, match=r"GET http://api/api/reviews/.* returned 503.*database is down"):
            await load_reviews(client, REVIEWS)


async def test_a_second_demo_replaces_its_review(capsys: pytest.CaptureFixture[str]) -> None:
    api = FakeApi()
    async with api.client() as client:
        await create_and_analyze(client, "movie-0")
        await create_and_analyze(client, "movie-0")
    assert [review["author"] for review in api.reviews] == [DEMO_AUTHOR]
    output = capsys.readouterr().out
    assert "POST /api/reviews " in output
    assert '"label": "positive"' in output


def test_the_most_reviewed_movies_come_first(tmp_path: Path) -> None:
    path = tmp_path / "validation.csv"
    lines = ["1,few,good,1", "2,many,bad,0", '3,many,"so, so",0', "4,many,bad,0"]
    path.write_text("\n".join(["review_id,movie_id,text,label", *lines]))
    assert read_reviews(path, 10) == [("many", "bad"), ("many", "so, so"), ("few", "good")]
    assert len(read_reviews(path, 2)) == 2


def test_missing_validation_data_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="make repro"):
        read_reviews(tmp_path / "validation.csv", 500)
