"""The client of the Bento: requests, answers, errors and timeouts."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api.bento.client import BentoClient
from api.errors import BadGatewayError, GatewayTimeoutError, UnavailableError
from api.sentiments import Analysis, SentimentError
from api.settings import Settings

GOOD = {"label": "positive", "score": 0.9, "model_version": "3"}
BAD = {"error": "the text has no words"}


def settings(**changed: Any) -> Settings:
    return Settings(_env_file=None, **{"database_url": "postgresql+asyncpg://u@h/d", **changed})


@asynccontextmanager
async def connected(
    handler: Callable[[httpx.Request], Any] | None = None, **changed: Any
) -> AsyncIterator[BentoClient]:
    transport = None if handler is None else httpx.MockTransport(handler)
    client = BentoClient(settings(**changed), transport)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def server(answer: Callable[[asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    """Run a server that reads the headers of a request and calls `answer`; yield its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await answer(writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield "http://{}:{}".format(*listening.sockets[0].getsockname())


async def test_classify_returns_one_result_per_text_in_order() -> None:
    sent: list[tuple[str, str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append((request.method, str(request.url), json.loads(request.content)))
        return httpx.Response(200, json=[{**GOOD, "extra": "ignored"}, BAD])

    async with connected(handler, bento_url="http://bento.test:3000") as client:
        results = await client.classify(["Ça 🎬", "?"])
    assert results == [
        Analysis(label="positive", score=0.9, model_version="3"),
        SentimentError(error="the text has no words"),
    ]
    assert sent == [("POST", "http://bento.test:3000/classify", {"texts": ["Ça 🎬", "?"]})]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"null",
        b"{}",
        b"[]",
        b"[null]",
        json.dumps([GOOD, GOOD]).encode(),
        json.dumps([{**GOOD, "label": "neutral"}]).encode(),
        json.dumps([{**GOOD, "score": 1.5}]).encode(),
        json.dumps([{**GOOD, "score": float("nan")}]).encode(),
        json.dumps([{**GOOD, "score": None}]).encode(),
        json.dumps([{"label": "positive", "score": 0.9}]).encode(),
        json.dumps([GOOD]).encode("utf-16"),
        json.dumps([{**GOOD, "label": "Secret text."}]).encode(),
        b"Secret text.",
    ],
)
@pytest.mark.parametrize("status", [200, 500])
async def test_an_invalid_answer_is_a_bad_gateway_and_not_logged(
    content: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(lambda _: httpx.Response(status, content=content)) as client:
        with pytest.raises(BadGatewayError):
            await client.classify(["Secret text."])
    assert "bento: " in caplog.text
    assert "Secret" not in caplog.text


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (201, BadGatewayError),
        (307, BadGatewayError),
        (400, BadGatewayError),
        (404, BadGatewayError),
        (500, BadGatewayError),
        (502, BadGatewayError),
        (429, UnavailableError),
        (503, UnavailableError),
        (504, GatewayTimeoutError),
    ],
)
async def test_an_error_status_is_mapped(status: int, error: type[Exception]) -> None:
    async with connected(lambda _: httpx.Response(status, json=[GOOD], headers={"Location": "/"})) as client:
        with pytest.raises(error):
            await client.classify(["x"])


@pytest.mark.parametrize(
    ("header", "seconds"),
    [({"Retry-After": "17"}, 17), ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 5), ({}, 5)],
)
async def test_retry_after_of_the_bento_is_passed_on(header: dict[str, str], seconds: int) -> None:
    async with connected(lambda _: httpx.Response(503, headers=header)) as client:
        with pytest.raises(UnavailableError) as raised:
            await client.classify(["x"])
    assert raised.value.retry_after == seconds


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (httpx.ConnectError, UnavailableError),
        (httpx.ConnectTimeout, UnavailableError),
        (httpx.PoolTimeout, UnavailableError),
        (httpx.RemoteProtocolError, UnavailableError),
        (httpx.ReadError, UnavailableError),
        (httpx.ReadTimeout, GatewayTimeoutError),
        (httpx.WriteTimeout, GatewayTimeoutError),
        (httpx.DecodingError, BadGatewayError),
    ],
)
async def test_a_transport_error_is_mapped(failure: type[httpx.RequestError], error: type[Exception]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise failure("no", request=request)

    async with connected(handler) as client:
        with pytest.raises(error):
            await client.classify(["x"])
        assert not await client.is_ready()


async def test_a_refused_connection_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with connected(bento_url=url) as client:
            with pytest.raises(UnavailableError):
                await client.classify(["x"])
            assert not await client.is_ready()


async def test_no_response_is_a_timeout() -> None:
    async with (
        server(lambda _: asyncio.sleep(1)) as url,
        connected(bento_url=url, api_bento_timeout_seconds=0.1) as client,
    ):
        with pytest.raises(GatewayTimeoutError, match=r"0\.1 seconds"):
            await client.classify(["x"])


async def test_a_slow_response_body_is_a_timeout() -> None:
    async def send_slowly(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(20):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    async with server(send_slowly) as url, connected(bento_url=url, api_bento_timeout_seconds=0.2) as client:
        with pytest.raises(GatewayTimeoutError):
            await client.classify(["x"])


async def test_calls_during_a_request_share_the_next_one() -> None:
    sent: list[list[str]] = []
    asked, go = asyncio.Event(), asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        texts = json.loads(request.content)["texts"]
        sent.append(texts)
        asked.set()
        await go.wait()
        return httpx.Response(
            200, json=[BAD if text == "?" else {**GOOD, "model_version": text} for text in texts]
        )

    async with connected(handler, api_bento_max_requests=1) as client:
        calls = [asyncio.create_task(client.classify(["1"]))]
        await asked.wait()
        calls += [asyncio.create_task(client.classify([text])) for text in ("2", "?", "4")]
        await asyncio.sleep(0)  # each call has started
        go.set()
        answers = await asyncio.gather(*calls)
    assert sent == [["1"], ["2", "?", "4"]]
    versions = [getattr(answer, "model_version", None) for (answer,) in answers]
    assert versions == ["1", "2", None, "4"], "an error for one text does not affect the others"


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False), (404, False)])
async def test_is_ready_calls_readyz(status: int, ready: bool) -> None:
    paths: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(status)

    async with connected(handler) as client:
        assert await client.is_ready() is ready
    assert paths == ["/readyz"]


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def ok(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with server(ok) as url, connected(bento_url=url) as client:
        assert await client.is_ready()
