"""What a process of the API writes, line by line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.serving.processes import free_port
from tests.api.test_metrics import scraped
from tests.postgres import ROOT


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_request_is_one_line_with_its_id(database_url: str, tmp_path: Path, form: str) -> None:
    port, log = free_port(), tmp_path / "log"
    words = [sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app", "--port", str(port)]
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "LOG_FORMAT": form,
        "BENTO_URL": "http://127.0.0.1:1",
    }
    with (
        log.open("w") as file,
        subprocess.Popen(words, cwd=ROOT, env=environment, stdout=file, stderr=file) as api,
    ):
        try:
            scraped(f"http://127.0.0.1:{port}/livez")
            named = {"X-Request-ID": "my-own-id"}
            url = f"http://127.0.0.1:{port}/api/analyze"
            refused = httpx.post(url, json={"text": "Fine."}, headers=named, trust_env=False)
            assert refused.status_code == 503, "there is no Bento"
        finally:
            api.terminate()
    if form == "text":
        assert '"POST /api/analyze HTTP/1.1" 503' in log.read_text()
        return
    # The first lines are uvicorn's, before it has read where the application is.
    said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    why, answer = [line for line in said if line.get("request_id") == "my-own-id"]
    assert (why["logger"], why["level"], why["service"]) == ("api.bento.client", "WARNING", "api")
    assert why["message"].startswith("bento: ConnectError")
    assert (answer["method"], answer["path"], answer["status"]) == ("POST", "/api/analyze", 503)
    assert answer["time"].startswith("20")
    assert any(line["message"] == "Application shutdown complete." for line in said)


def test_the_worker_writes_json_too(tmp_path: Path) -> None:
    nowhere = {"DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none", "LOG_FORMAT": "json"}
    log = tmp_path / "log"
    words = [sys.executable, "-m", "api.worker"]
    with (
        log.open("w") as file,
        subprocess.Popen(words, cwd=ROOT, env=os.environ | nowhere, stdout=file) as worker,
    ):
        try:
            while not log.read_text():
                assert worker.poll() is None
        finally:
            worker.terminate()
    line = json.loads(log.read_text().splitlines()[0])
    assert (line["message"], line["service"], line["level"]) == ("waiting for reviews", "worker", "INFO")
