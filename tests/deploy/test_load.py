import json
from pathlib import Path

import httpx
import pytest

from deploy.local.demo import VISITOR, ask
from deploy.local.load import AT_ONCE, load, read_reviews
from deploy.local.settings import StackError

REVIEWS = [(f"movie-{number % 3}", f"text {number}") for number in range(250)]


class FakeApi:
    """The part of the API's contract that the demo uses, in memory, newest first, in pages."""

    def __init__(self) -> None:
        self.reviews: list[dict[str, str]] = []
        self.open = self.most_open = 0

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
        return httpx.AsyncClient(transport=httpx.MockTransport(self.counted), base_url="http://api")

    async def counted(self, request: httpx.Request) -> httpx.Response:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self.answer(request)
        finally:
            self.open -= 1


async def test_every_review_is_loaded_once() -> None:
    api = FakeApi()
    async with api.client() as client:
        assert await load(client, REVIEWS) == 250
        assert await load(client, REVIEWS) == 0
    assert sorted((review["movie_id"], review["text"]) for review in api.reviews) == sorted(REVIEWS)
    assert api.most_open <= AT_ONCE


async def test_an_interrupted_load_is_completed() -> None:
    api = FakeApi()
    async with api.client() as client:
        await load(client, REVIEWS[:100])
        api.reviews.append({"id": "x", "movie_id": "movie-0", "text": REVIEWS[150][1], "author": "a person"})
        assert await load(client, REVIEWS) == 150


async def test_the_first_error_ends_it_with_the_apis_words() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"title": "database is away"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(broken), base_url="http://api") as client:
        with pytest.raises(StackError, match=r"GET http://api/api/reviews/.* answered 503.*database is away"):
            await load(client, REVIEWS)


async def test_the_visitors_review_is_there_once(capsys: pytest.CaptureFixture[str]) -> None:
    api = FakeApi()
    async with api.client() as client:
        await ask(client, "movie-0")
        await ask(client, "movie-0")
    assert [review["author"] for review in api.reviews] == [VISITOR]
    output = capsys.readouterr().out
    assert "POST /api/reviews " in output
    assert '"label": "positive"' in output


def test_the_most_reviewed_movies_come_first(tmp_path: Path) -> None:
    path = tmp_path / "validation.csv"
    lines = ["1,few,good,1", "2,many,bad,0", '3,many,"so, so",0', "4,many,bad,0"]
    path.write_text("\n".join(["review_id,movie_id,text,label", *lines]))
    assert read_reviews(path, 10) == [("many", "bad"), ("many", "so, so"), ("few", "good")]
    assert len(read_reviews(path, 2)) == 2


def test_no_validation_data_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="make repro"):
        read_reviews(tmp_path / "validation.csv", 500)
