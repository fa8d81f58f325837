"""/api/analyze and /api/analyze/batch."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.main import create_app
from api.settings import Settings
from tests.api.conftest import Serve, running
from tests.api.requests import create, faults, problem

SENTIMENT = {"label": "negative", "score": 0.75, "model_version": "3", "truncated": True, "known_share": 0.5}


def bento(request: httpx.Request) -> httpx.Response:
    """Classify every text as negative, except Latin ones; the version echoes the text."""
    texts = json.loads(request.content)["texts"]
    answers = [
        {"error": "unknown language"} if "lorem" in text else {**SENTIMENT, "model_version": text}
        for text in texts
    ]
    return httpx.Response(200, json=answers)


@pytest.mark.parametrize("said", [{"known_share": 0.25}, {"known_share": None}, {}])
async def test_the_share_of_known_words_is_null_if_the_model_does_not_say(
    serve: Serve, said: dict[str, float | None]
) -> None:
    answer = {name: value for name, value in SENTIMENT.items() if name != "known_share"} | said
    async with serve(lambda _: httpx.Response(200, json=[answer])) as client:
        single = await client.post("/api/analyze", json={"text": "Dull."})
        batch = await client.post("/api/analyze/batch", json={"texts": ["Dull."]})
    assert single.json() == batch.json()["results"][0] == SENTIMENT | {"known_share": said.get("known_share")}


async def test_analyze_classifies_the_trimmed_text(serve: Serve) -> None:
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
async def test_analyze_rejects_an_invalid_body(serve: Serve, body: Any, field: str) -> None:
    async with serve(bento) as client:
        response = await client.post("/api/analyze", json=body)
    assert list(faults(response)) == [field]


async def test_a_text_that_the_model_cannot_analyse_is_422(serve: Serve) -> None:
    async with serve(bento) as client:
        response = await client.post("/api/analyze", json={"text": "lorem"})
    assert "unknown language" in faults(response)["body.text"]


async def test_batch_returns_one_result_per_text_in_order(serve: Serve) -> None:
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


async def test_a_batch_of_invalid_texts_needs_no_model(serve: Serve) -> None:
    async with serve() as client:
        response = await client.post("/api/analyze/batch", json={"texts": ["", " "]})
    assert [list(result) for result in response.json()["results"]] == [["error"], ["error"]]


async def test_a_batch_has_1_to_64_texts(serve: Serve) -> None:
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
    ("status", "content", "expected"), [(200, b"[]", 502), (503, b"", 503), (429, b"", 503), (504, b"", 504)]
)
async def test_a_failure_of_the_model_is_a_problem(
    serve: Serve, path: str, status: int, content: bytes, expected: int
) -> None:
    def failing(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=content, headers={"Retry-After": "7"})

    async with serve(failing) as client:
        body = {"text": "x"} if path == "/api/analyze" else {"texts": ["x"]}
        response = await client.post(path, json=body)
    problem(response, expected)
    assert response.headers.get("Retry-After") == ("7" if expected == 503 else None)


async def test_reviews_work_without_the_bento(serve: Serve, client: httpx.AsyncClient) -> None:
    async with serve() as without_bento:
        response = await without_bento.post("/api/analyze", json={"text": "x"})
        problem(response, 503)
        assert int(response.headers["Retry-After"]) > 0
        review = await create(without_bento)
        assert (await without_bento.delete(f"/api/reviews/{review['id']}")).status_code == 204


async def test_a_queued_text_is_dropped_when_its_client_disconnects(database_url: str) -> None:
    sent: list[str] = []
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        sent.extend(json.loads(request.content)["texts"])
        asked.set()
        await go.wait()
        return bento(request)

    settings = Settings(_env_file=None, database_url=database_url, api_bento_max_requests=1)
    app = create_app(settings, httpx.MockTransport(slow))
    disconnected = asyncio.Event()
    async with running(app) as client:
        first = asyncio.create_task(client.post("/api/analyze", json={"text": "first"}))
        await asyncio.wait_for(asked.wait(), 60)
        gone = asyncio.create_task(post_and_disconnect(app, {"text": "gone"}, disconnected))
        last = asyncio.create_task(client.post("/api/analyze", json={"text": "last"}))
        await asyncio.sleep(0.05)
        disconnected.set()
        await asyncio.wait_for(gone, 60)
        go.set()
        assert [(await first).status_code, (await last).status_code] == [200, 200]
    assert sent == ["first", "last"]


async def post_and_disconnect(app: FastAPI, body: object, disconnected: asyncio.Event) -> None:
    """Call the application like a server whose client disconnects before the response."""
    messages = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        await disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        """Discard the message."""

    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/analyze",
        "headers": headers,
        "query_string": b"",
    }
    await app(scope, receive, send)
