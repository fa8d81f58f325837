import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.project import ROOT, Project


def test_processes_that_begin_a_store_at_once_all_get_it(tmp_path: Path) -> None:
    """As two `make sweep` on a fresh clone do: MLflow makes the tables of each new file itself."""
    code = "from pipelines.tracking import connect; print(connect().get_experiment_by_name('sentiment').name)"

    def begin(_: int) -> str:
        return Project(tmp_path).run(sys.executable, "-c", code, env={"PYTHONPATH": str(ROOT)}).stdout.strip()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(begin, range(3))) == ["sentiment"] * 3
