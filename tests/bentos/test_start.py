"""`bentoml serve` from start to the first answer, or to an error with a remedy."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.processes import free_port
from bentos.sentiment.champion import files
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import READY_SECONDS, ROOT, Registry, Server, serve, serve_command
from tests.bentos.reviews import REVIEWS

pytestmark = pytest.mark.process


def test_a_restart_with_mlflow_down_is_ready_and_warm(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    """One text has been classified before /readyz: 20 concurrent requests are neither 503 nor slow."""
    registry.promote(serving[0])
    files.fetch(settings)
    registry.disappear()
    with serve(registry) as server:
        assert server.metric("bentoml_service_adaptive_batch_size_count") == 1
        first, second = slowest_of_20(server, "first"), slowest_of_20(server, "second")
        assert first < max(2, 5 * second)
        [answer] = server.classify(["A good film."]).json()
        assert answer["model_version"] == "1"
        assert "Serving version 1, the last champion, from the local store" in server.log.read_text()


def slowest_of_20(server: Server, prefix: str) -> float:
    """Send 20 concurrent requests, which must succeed; return the longest time in seconds."""
    with ThreadPoolExecutor(20) as pool:
        texts = [f"{prefix} {number} {REVIEWS[number % len(REVIEWS)]}" for number in range(20)]
        responses = list(pool.map(lambda text: server.classify([text]), texts))
    assert [response.status_code for response in responses] == [200] * 20
    return max(response.elapsed.total_seconds() for response in responses)


def test_without_champion_the_server_exits_with_one_line(registry: Registry) -> None:
    ended = subprocess.run(
        serve_command(free_port()),
        cwd=ROOT,
        env=registry.environment,
        timeout=READY_SECONDS,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert f"no version of 'sentiment' is champion in {registry.uri}" in line
    assert "make repro promote" in line


def test_serving_imports_neither_training_libraries_nor_mlflow() -> None:
    """The serving process stays small; MLflow is imported only by the child process that fetches."""
    code = (
        "import sys, bentos.sentiment.service\n"
        "names = ('torch', 'transformers', 'mlflow', 'pandas', 'sklearn')\n"
        "print([name for name in names if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
        timeout=READY_SECONDS,
    )
    assert ended.stdout.strip() == "[]"
