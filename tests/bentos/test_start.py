"""`bentoml serve` from start to the first answer, or to an error with a remedy."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.processes import free_port
from bentos.sentiment.champion import files, store, watcher
from bentos.sentiment.registry import RegistryError
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


@contextlib.contextmanager
def trickling_server() -> Iterator[str]:
    """A server that sends a header every half second and never ends, so that no timeout of a read applies."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(OSError):
                while not stopped.wait(0.5):
                    self.wfile.write(b"x: y\r\n")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        stopped.set()
        server.shutdown()


@pytest.mark.usefixtures("settings")
def test_a_registry_that_never_ends_its_answer_delays_a_start_but_prevents_none(
    registry: Registry, serving: list[Path]
) -> None:
    with trickling_server() as uri:
        store.mark_champion(store.add(serving[0], "7", "ab" * 32, {}, uri), uri)
        limits = {"SENTIMENT_FETCH_SECONDS": "3", "SENTIMENT_POLL_SECONDS": "0"}
        with serve(registry, MLFLOW_TRACKING_URI=uri, **limits) as server:
            [answer] = server.classify(["A good film."]).json()
            assert answer["model_version"] == "7"
            assert "has not delivered the champion within 3 seconds" in server.log.read_text()


async def test_a_running_worker_gives_up_fetching_too(settings: Settings) -> None:
    with trickling_server() as uri, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(RegistryError, match="within 3 seconds"):
            await watcher.fetch(settings.model_copy(update={"fetch_seconds": 3}))


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
