"""`bentoml serve` from start to first answer, or to an error that helps."""

import subprocess
import sys
from pathlib import Path

from benchmarks.serving.processes import free_port
from bentos.sentiment import champion
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import READY_SECONDS, ROOT, Registry, serve, serve_command


def test_a_restart_works_with_mlflow_gone(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    champion.fetch(settings)
    registry.disappear()
    with serve(registry) as server:
        [answer] = server.classify(["A good film."]).json()
        assert answer["model_version"] == "1"
        assert "Serving version 1, the last champion, from the local store" in server.log.read_text()


def test_without_champion_the_server_ends_with_one_line(registry: Registry) -> None:
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


def test_serving_imports_no_training_library_and_no_mlflow() -> None:
    """The process that answers requests stays small; MLflow is for the moment of start."""
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


def test_promoting_imports_no_training_library(registry: Registry) -> None:
    code = (
        "import sys\n"
        "from bentos.sentiment.promote import main\n"
        "assert main(['--status']) == 0\n"
        "print([name for name in ('torch', 'transformers', 'openvino') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=registry.environment,
        text=True,
        capture_output=True,
        check=True,
        timeout=READY_SECONDS,
    )
    assert ended.stdout.splitlines()[-1] == "[]"
