"""The log lines of the API and of the worker in JSON; test_main.py and test_worker.py read those in text."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from benchmarks.processes import free_port
from tests.api.test_metrics import read, scrape
from tests.postgres import ROOT


def test_a_request_and_what_it_logs_share_its_id(database_url: str, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    words = [sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app", "--port", str(port)]
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "LOG_FORMAT": "json",
        "BENTO_URL": "http://127.0.0.1:1",
    }
    with (
        log.open("w") as file,
        subprocess.Popen(words, cwd=ROOT, env=environment, stdout=file, stderr=file) as api,
    ):
        try:
            scrape(f"http://127.0.0.1:{port}/livez", api)
            headers = {"X-Request-ID": "my-own-id"}
            url = f"http://127.0.0.1:{port}/api/analyze"
            refused = httpx.post(url, json={"text": "Fine."}, headers=headers, timeout=60, trust_env=False)
            assert refused.status_code == 503, "there is no Bento"
        finally:
            api.terminate()
    # uvicorn writes its first lines before it imports the application, which configures the logging.
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    reason, access = [line for line in lines if line.get("request_id") == "my-own-id"]
    assert (reason["logger"], reason["level"], reason["service"]) == ("api.bento.client", "WARNING", "api")
    assert reason["message"].startswith("bento: ConnectError")
    assert (access["method"], access["path"], access["status"]) == ("POST", "/api/analyze", 503)
    assert access["time"].startswith("20")
    assert any(line["message"] == "Application shutdown complete." for line in lines)


def test_the_worker_writes_json_and_serves_its_metrics(database_url: str, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "LOG_FORMAT": "json",
        "WORKER_METRICS_PORT": str(port),
    }
    words = [sys.executable, "-m", "api.worker"]
    with log.open("w") as file, subprocess.Popen(words, cwd=ROOT, env=environment, stdout=file) as worker:
        try:
            found = read(scrape(f"http://127.0.0.1:{port}/metrics", worker))
            while not log.read_text().endswith("\n"):
                assert worker.poll() is None
        finally:
            worker.terminate()
    assert found["worker_reviews_stored_total", frozenset()] >= 0
    assert found["bento_breaker_open", frozenset()] in (0, 1)
    line = json.loads(log.read_text().splitlines()[0])
    assert (line["message"], line["service"], line["level"]) == ("waiting for reviews", "worker", "INFO")
