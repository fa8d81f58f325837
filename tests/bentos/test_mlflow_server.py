"""Promotion and serving with an MLflow server that proxies the artifacts."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bentos.sentiment.champion import files
from bentos.sentiment.promote import main
from bentos.sentiment.registry import NoChampionError
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import MlflowServer
from tests.bentos.registration import register


@contextlib.contextmanager
def suspended(server: MlflowServer) -> Iterator[None]:
    """Stop the server's processes: it accepts connections and answers nothing."""
    parent = psutil.Process(server.process.pid)
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_from_registration_to_a_server_that_hangs(
    mlflow_server: MlflowServer,
    settings: Settings,
    serving: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = mlflow_server.url
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    settings = settings.model_copy(update={"tracking_uri": url})
    client = mlflow_server.client
    register(client, serving[0], "0.80")
    register(client, serving[1], "0.85")

    with pytest.raises(NoChampionError):
        files.fetch(settings)
    assert main(["--alias", "challenger"]) == 4
    assert main(["--version", "3"]) == 4
    assert main(["--version", "1"]) == 0
    assert main(["--version", "2"]) == 0
    assert main(["--version", "1"]) == 5
    assert files.fetch(settings).version == "2"
    fetched = files.fetched(settings).folder / "model.bin"
    assert fetched.read_bytes() == (serving[1] / "model.bin").read_bytes()

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with suspended(mlflow_server):
        started = time.monotonic()
        impatient = settings.model_copy(update={"registry_timeout_seconds": 1})
        assert files.fetch(impatient).version == "2"
        assert main(["--status"]) == 3
        assert time.monotonic() - started < 20
    assert "cannot use MLflow" in capsys.readouterr().err
