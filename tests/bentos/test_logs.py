"""What `bentoml serve` writes when it is to be JSON."""

import json

from tests.bentos.conftest import Registry, serve


def test_every_line_is_json_with_the_request_and_the_version(shared: Registry) -> None:
    with serve(shared, LOG_FORMAT="json") as server:
        named = server.client.post(
            "/classify", json={"texts": ["Fine."]}, headers={"X-Request-ID": "my-own-id"}
        )
        assert named.headers["X-Request-ID"] == "my-own-id"
        forged = server.client.post("/classify", json={"texts": ["Fine."]}, headers={"X-Request-ID": "a b"})
        assert " " not in forged.headers["X-Request-ID"]
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (answer,) = [line for line in lines if line.get("request_id") == "my-own-id"]
    assert answer["logger"] == "bentoml.access"
    assert "path=/classify" in answer["message"]
    assert answer["model_version"] == "2"
    assert {line["service"] for line in lines} == {"bento"}
    assert any("listening on" in line["message"] for line in lines), "the parent of the workers too"
