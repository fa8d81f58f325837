"""The REST client against a server with canned responses; see test_watcher.py for a real MLflow server."""

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
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
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    champion(f"http://{address}", 200, {"model_version": VERSION})
    assert Handler.seen == expected
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    champion(f"http://{address}", 200, {"model_version": VERSION})
    assert Handler.seen == "Bearer token"


def test_it_reads_the_credentials_file_of_mlflow(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = secret\n"
    )
    champion(f"http://{address}", 200, {"model_version": VERSION})
    assert Handler.seen == "Basic " + base64.b64encode(b"ann:secret").decode()


@pytest.mark.process
def test_it_trusts_and_shows_the_certificates_that_mlflow_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server's certificate is its own authority, and it demands one of its clients."""
    own = certificate(tmp_path / "own.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=own)
    context.load_cert_chain(own)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answer = (f"https://127.0.0.1:{server.server_port}", 200, {"model_version": VERSION})
        with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"):
            champion(*answer)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(own))
        assert champion(*answer).version == "7"
        monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
        assert champion(*answer).version == "7"
        context.verify_mode = ssl.CERT_REQUIRED
        with pytest.raises(RegistryError, match="cannot use MLflow"):
            champion(*answer)
        monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(own))
        assert champion(*answer).version == "7"
        monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(tmp_path / "none.pem"))
        with pytest.raises(RegistryError, match=r"MLFLOW_TRACKING_CLIENT_CERT_PATH .*none\.pem"):
            champion(*answer)
        server.shutdown()


def certificate(path: Path) -> Path:
    """Write a certificate of 127.0.0.1, signed by itself, and its key."""
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 1 -subj /CN=mlflow"
    options = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{path}.key", "-out", f"{path}.crt"]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())
    return path
