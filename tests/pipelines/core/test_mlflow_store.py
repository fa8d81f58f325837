import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from mlflow import MlflowClient

from benchmarks.serving.processes import free_port
from pipelines.core.mlflow_store import make_experiment
from tests.pipelines.mlflow_server import server
from tests.project import ROOT, Project


def test_processes_that_begin_a_store_at_once_all_get_it(tmp_path: Path) -> None:
    """As two `make sweep` on a fresh clone do: MLflow makes the tables of each new file itself."""
    code = (
        "from pipelines.core.mlflow_store import connect;"
        "print(connect().get_experiment_by_name('sentiment').name)"
    )

    def begin(_: int) -> str:
        return Project(tmp_path).run(sys.executable, "-c", code, env={"PYTHONPATH": str(ROOT)}).stdout.strip()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(begin, range(3))) == ["sentiment"] * 3


def test_clients_that_make_the_experiment_of_a_server_at_once_all_have_it(tmp_path: Path) -> None:
    with server(tmp_path, free_port()) as url, ThreadPoolExecutor(8) as pool:
        clients = [MlflowClient(url) for _ in range(8)]
        together = Barrier(len(clients))

        def make(client: MlflowClient) -> None:
            together.wait()
            make_experiment(client, None)

        list(pool.map(make, clients))
        assert {experiment.name for experiment in clients[0].search_experiments()} == {"Default", "sentiment"}
