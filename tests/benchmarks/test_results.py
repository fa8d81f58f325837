import json
from pathlib import Path

import pytest

from benchmarks import results

NAN = float("nan")


def test_writes_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    content = {"rounds": 2, "rows": [{"p50": NAN, "p99": (1.0, NAN)}]}
    results.write(folder, content, "| table |", lambda path: path.touch())
    written = json.loads((folder / "table.json").read_text())
    assert written["machine"]["cores"] >= 1
    assert (written["rounds"], written["rows"]) == (2, [{"p50": None, "p99": [1.0, None]}])
    assert (folder / "table.md").read_text() == "| table |"
    printed = capsys.readouterr().out
    assert "| table |" in printed
    assert f"{folder}: plot.png, table.json, table.md" in printed
