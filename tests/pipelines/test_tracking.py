import os
import subprocess
import sys
from pathlib import Path

from tests.project import ROOT


def test_processes_that_begin_a_store_at_once_all_get_it(tmp_path: Path) -> None:
    """As two `make sweep` on a fresh clone do: MLflow makes the tables of each new file itself."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))
    }
    environment |= {"PYTHONPATH": str(ROOT)}
    code = "from pipelines.tracking import connect; print(connect().get_experiment_by_name('sentiment').name)"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [out.strip() for out, _ in said] == ["sentiment"] * 3, said
