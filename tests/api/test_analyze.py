import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import Serve
from tests.api.requests import create, faults, problem

SENTIMENT = {"label": "negative", "score": 0.75, "model_version": "3", "truncated": True}


def bento(request: httpx.Request) -> httpx.Response:
    """Negative, but it knows no Latin; the version tells what it was asked."""
    texts = json.loads(request.content)["texts"]
    answers = [
        {"error": "unknown language"} if "lorem" in text else {**SENTIMENT, "model_version": text}
        for text in texts
    ]
    return httpx.Response(200, json=answers)


async def test_analyze_answers_what_the_model_says_of_the_trimmed_text(serve: Serve) -> None:
    async with serve(bento) as client:
        response = await client.post("/api/analyze", json={"text": "  Dull. 🎬\n"})
    assert response.status_code == 200
    assert response.json() == {**SENTIMENT, "model_version": "Dull. 🎬"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": " "}, "body.text"),
        ({"text": "x" * 20_001}, "body.text"),
        ({"text": "a\0b"}, "body.text"),
        ({}, "body.text"),
        ({"text": "x", "lang": "en"}, "body.lang"),
        ([], "body."),
    ],
)
async def test_analyze_refuses_what_is_no_text(serve: Serve, body: Any, field: str) -> None:
    async with serve(bento) as client:
        response = await client.post("/api/analyze", json=body)
    assert list(faults(response)) == [field]


async def test_a_text_that_the_model_cannot_read_is_unprocessable(serve: Serve) -> None:
    async with serve(bento) as client:
        response = await client.post("/api/analyze", json={"text": "lorem"})
    assert "unknown language" in problem(response, 422)["detail"]


async def test_batch_answers_each_text_in_order(serve: Serve) -> None:
    texts = ["one", " ", "lorem", "x" * 20_001, " two ", "a\0b", "one"]
    async with serve(bento) as client:
        response = await client.post("/api/analyze/batch", json={"texts": texts})
    assert response.status_code == 200
    results = response.json()["results"]
    assert [result.get("model_version") for result in results] == [
        "one",
        None,
        None,
        None,
        "two",
        None,
        "one",
    ]
    assert "at least 1" in results[1]["error"]
    assert results[2] == {"error": "unknown language"}
    assert "at most 20000" in results[3]["error"]
    assert "NUL" in results[5]["error"]


async def test_a_batch_of_bad_texts_needs_no_model(serve: Serve) -> None:
    async with serve() as client:
        response = await client.post("/api/analyze/batch", json={"texts": ["", " "]})
    assert [list(result) for result in response.json()["results"]] == [["error"], ["error"]]


async def test_a_batch_holds_64_texts(serve: Serve) -> None:
    async with serve(bento) as client:
        response = await client.post("/api/analyze/batch", json={"texts": ["x"] * 64})
        assert len(response.json()["results"]) == 64
        for texts, limit in [([], "at least 1"), (["x"] * 65, "at most 64")]:
            refused = await client.post("/api/analyze/batch", json={"texts": texts})
            assert limit in faults(refused)["body.texts"]
        refused = await client.post("/api/analyze/batch", json={"texts": ["x", None]})
        assert list(faults(refused)) == ["body.texts.1"]


@pytest.mark.parametrize("path", ["/api/analyze", "/api/analyze/batch"])
@pytest.mark.parametrize(
    ("status", "content", "ours"), [(200, b"[]", 502), (503, b"", 503), (429, b"", 503), (504, b"", 504)]
)
async def test_the_models_failure_is_a_problem(
    serve: Serve, path: str, status: int, content: bytes, ours: int
) -> None:
    def failing(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=content, headers={"Retry-After": "7"})

    async with serve(failing) as client:
        body = {"text": "x"} if path == "/api/analyze" else {"texts": ["x"]}
        response = await client.post(path, json=body)
    problem(response, ours)
    assert response.headers.get("Retry-After") == ("7" if ours == 503 else None)


async def test_without_the_bento_reviews_go_on(serve: Serve, client: httpx.AsyncClient) -> None:
    async with serve() as bereft:
        response = await bereft.post("/api/analyze", json={"text": "x"})
        problem(response, 503)
        assert int(response.headers["Retry-After"]) > 0
        review = await create(bereft)
        assert (await bereft.delete(f"/api/reviews/{review['id']}")).status_code == 204
