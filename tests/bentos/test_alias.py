"""The cheap question, put to a server that answers what a test wants; see also test_promotion.py."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bentos.sentiment.alias import Alias, Candidate
from bentos.sentiment.registry import NoChampionError, RegistryError
from bentos.sentiment.settings import Settings

Answer = Callable[[int, object], None]
VERSION = {"version": "7", "tags": [{"key": "weights_sha256", "value": "ab" * 32}]}


class Handler(BaseHTTPRequestHandler):
    status, body, seen = 200, b"", ""

    def do_GET(self) -> None:
        Handler.seen = self.headers.get("Authorization", "")
        self.send_response(Handler.status)
        self.end_headers()
        self.wfile.write(Handler.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(uri: str, status: int, body: object) -> Candidate:
    Handler.status, Handler.body = status, json.dumps(body).encode()
    with Alias(Settings().model_copy(update={"tracking_uri": uri})) as alias:
        return alias.ask()


def test_the_champion_and_the_hash_of_its_weights(address: str) -> None:
    candidate = ask(f"http://{address}", 200, {"model_version": VERSION})
    assert candidate == Candidate("7", "ab" * 32)
    assert candidate.tag == "sentiment:7-abababababab"
    assert ask(f"http://{address}/", 200, {"model_version": {"version": "8"}}) == Candidate("8", "")


@pytest.mark.parametrize("code", ["RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"])
def test_no_champion(address: str, code: str) -> None:
    with pytest.raises(NoChampionError, match="make repro promote"):
        ask(f"http://{address}", 404, {"error_code": code})


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (403, {"error_code": "PERMISSION_DENIED"}), (200, {}), (200, []), (200, "x")],
)
def test_any_other_answer_is_an_error(address: str, status: int, body: object) -> None:
    with pytest.raises(RegistryError, match="cannot use MLflow") as raised:
        ask(f"http://someone:secret@{address}", status, body)
    assert not isinstance(raised.value, NoChampionError)
    assert "secret" not in str(raised.value)


def test_it_shows_the_credentials_that_mlflow_shows(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "Basic " + base64.b64encode(b"ann:secret").decode()
    ask(f"http://ann:secret@{address}", 200, {"model_version": VERSION})
    assert Handler.seen == expected
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    ask(f"http://{address}", 200, {"model_version": VERSION})
    assert Handler.seen == expected
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    ask(f"http://{address}", 200, {"model_version": VERSION})
    assert Handler.seen == "Bearer token"
