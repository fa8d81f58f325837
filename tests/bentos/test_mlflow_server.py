"""Promotion and serving with an MLflow server that proxies the artifacts."""

import time
from pathlib import Path

import pytest

from bentos.sentiment.champion import files
from bentos.sentiment.promote import main
from bentos.sentiment.registry import NoChampionError
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import MlflowServer, stop
from tests.bentos.registration import register


def test_from_registration_to_a_stopped_server(
    own_mlflow_server: MlflowServer,
    settings: Settings,
    serving: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = own_mlflow_server.url
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    settings = settings.model_copy(update={"tracking_uri": url})
    client = own_mlflow_server.client
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
    assert (files.fetched(settings).folder / "model.bin").read_bytes() == (
        serving[1] / "model.bin"
    ).read_bytes()

    stop(own_mlflow_server.process)
    started = time.monotonic()
    assert files.fetch(settings).version == "2"
    assert main(["--status"]) == 3
    assert time.monotonic() - started < 20
    assert "cannot use MLflow" in capsys.readouterr().err
