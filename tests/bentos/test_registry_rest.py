"""The REST client against a server with canned responses; see test_watcher.py for a real MLflow server."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from bentos.sentiment.registry import NoChampionError, RegistryError
from bentos.sentiment.registry_rest import ChampionVersion, RestClient
from bentos.sentiment.settings import Settings

VERSION: dict[str, Any] = {"version": "7", "tags": [{"key": "weights_sha256", "value": "ab" * 32}]}


class Handler(BaseHTTPRequestHandler):
    status, body, seen = 200, b"", ""

    def do_GET(self) -> None:
        Handler.seen = self.headers.get("Authorization", "")
        self.send_response(Handler.status)
        self.end_headers()
        self.wfile.write(Handler.body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def champion(uri: str, status: int, body: object) -> ChampionVersion:
    Handler.status, Handler.body = status, json.dumps(body).encode()
    with RestClient(Settings().model_copy(update={"tracking_uri": uri})) as client:
        return client.champion()


def test_the_champion_and_the_hash_of_its_weights(address: str) -> None:
    found = champion(f"http://{address}", 200, {"model_version": VERSION})
    assert found == ChampionVersion("7", "ab" * 32)
    assert found.tag == "sentiment:7-abababababab"
    all_files = {"key": "serving_sha256", "value": "cd" * 32}
    newer = VERSION | {"tags": [*VERSION["tags"], all_files]}
    assert champion(f"http://{address}", 200, {"model_version": newer}) == ChampionVersion("7", "cd" * 32)
    assert champion(f"http://{address}/", 200, {"model_version": {"version": "8"}}) == ChampionVersion(
        "8", ""
    )


@pytest.mark.parametrize("code", ["RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"])
def test_no_champion(address: str, code: str) -> None:
    with pytest.raises(NoChampionError, match="make repro promote"):
        champion(f"http://{address}", 404, {"error_code": code})


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (403, {"error_code": "PERMISSION_DENIED"}), (200, {}), (200, []), (200, "x")],
)
def test_any_other_response_is_an_error(address: str, status: int, body: object) -> None:
    with pytest.raises(RegistryError, match="cannot use MLflow") as raised:
        champion(f"http://someone:secret@{address}", status, body)
    assert not isinstance(raised.value, NoChampionError)
    assert "secret" not in str(raised.value)


def test_it_sends_the_same_credentials_as_mlflow(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "Basic " + base64.b64encode(b"ann:secret").decode()
    champion(f"http://ann:secret@{address}", 200, {"model_version": VERSION})
    assert Handler.seen == expected
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    champion(f"http://{address}", 200, {"model_version": VERSION})
    assert Handler.seen == expected
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    champion(f"http://{address}", 200, {"model_version": VERSION})
    assert Handler.seen == "Bearer token"
