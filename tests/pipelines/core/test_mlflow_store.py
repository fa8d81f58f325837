from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from mlflow import MlflowClient

from benchmarks.processes import free_port
from pipelines.core.mlflow_store import connect, make_experiment, sqlite_url
from tests.pipelines.concurrency import open_store, run_concurrently
from tests.pipelines.mlflow_server import server

pytestmark = pytest.mark.process


def test_concurrent_processes_can_create_the_store(tmp_path: Path) -> None:
    """As two `make sweep` in a fresh clone do; MLflow creates the tables of a new file itself."""
    found = run_concurrently(open_store, *[(str(tmp_path),)] * 3)
    assert [sorted(names) for names in found] == [["Default", "sentiment"]] * 3


def test_the_path_of_the_store_is_quoted_in_its_url(tmp_path: Path) -> None:
    folder = tmp_path / "100%20 ü?b"
    folder.mkdir()
    MlflowClient(sqlite_url(folder / "mlflow.db")).search_experiments()
    assert (folder / "mlflow.db").is_file()


def test_concurrent_clients_of_a_server_can_create_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(tmp_path, free_port()) as url, ThreadPoolExecutor(8) as pool:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "elsewhere.test")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        monkeypatch.setenv("no_proxy", "")
        connect()  # a loopback address needs no proxy
        clients = [MlflowClient(url) for _ in range(8)]
        barrier = Barrier(len(clients))

        def make(client: MlflowClient) -> None:
            barrier.wait()
            make_experiment(client, None)

        list(pool.map(make, clients))
        assert {experiment.name for experiment in clients[0].search_experiments()} == {"Default", "sentiment"}
