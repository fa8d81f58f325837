"""The JSON log of `bentoml serve`."""

import json
from typing import Any

from tests.bentos.conftest import Server, wait_for


def lines(server: Server) -> list[dict[str, Any]]:
    """Return the complete lines so far; a line that is not JSON raises ValueError."""
    complete, _, _ = server.log.read_text().rpartition("\n")
    return [json.loads(line) for line in complete.splitlines()]


def test_every_line_is_json_with_the_request_id_and_the_model_version(server: Server) -> None:
    body = {"texts": ["Fine."]}
    named = server.client.post("/classify", json=body, headers={"X-Request-ID": "my-own-id"})
    assert named.headers["X-Request-ID"] == "my-own-id"
    invalid = server.client.post("/classify", json=body, headers={"X-Request-ID": "a b"})
    assert " " not in invalid.headers["X-Request-ID"]
    wait_for(lambda: any(line.get("request_id") == "my-own-id" for line in lines(server)), "the access line")
    (access,) = [line for line in lines(server) if line.get("request_id") == "my-own-id"]
    assert access["logger"] == "bentoml.access"
    assert "path=/classify" in access["message"]
    assert access["model_version"] == "2"
    assert {line["service"] for line in lines(server)} == {"bento"}
    assert any("listening on" in line["message"] for line in lines(server)), "logged by the workers' parent"
