from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from mlflow import MlflowClient

from benchmarks.processes import free_port
from pipelines.core.mlflow_store import make_experiment
from tests.pipelines.mlflow_server import server
from tests.pipelines.processes import together
from tests.pipelines.runs import beginning

pytestmark = pytest.mark.process


def test_processes_that_begin_a_store_at_once_all_get_it(tmp_path: Path) -> None:
    """As two `make sweep` on a fresh clone do: MLflow makes the tables of each new file itself."""
    found = together(3, beginning, str(tmp_path))
    assert [sorted(names) for names in found] == [["Default", "sentiment"]] * 3


def test_clients_that_make_the_experiment_of_a_server_at_once_all_have_it(tmp_path: Path) -> None:
    with server(tmp_path, free_port()) as url, ThreadPoolExecutor(8) as pool:
        clients = [MlflowClient(url) for _ in range(8)]
        barrier = Barrier(len(clients))

        def make(client: MlflowClient) -> None:
            barrier.wait()
            make_experiment(client, None)

        list(pool.map(make, clients))
        assert {experiment.name for experiment in clients[0].search_experiments()} == {"Default", "sentiment"}
