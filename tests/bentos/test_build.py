import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bentos import requirements
from tests.bentos.conftest import ROOT


def test_the_bento_holds_the_code_and_pinned_requirements_and_no_more(tmp_path: Path) -> None:
    """Built with no way to the network: every proxy and index is a closed door."""
    closed = "http://127.0.0.1:9"
    doors = dict.fromkeys(("http_proxy", "https_proxy", "PIP_INDEX_URL", "UV_INDEX_URL"), closed)
    environment = {
        **os.environ,
        **doors,
        "BENTOML_HOME": str(tmp_path / "home"),
        "BENTOML_DO_NOT_TRACK": "true",
    }
    # A copy of what it needs: BentoML walks the whole folder, and in ours files come and go while it does.
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "bentos", checkout / "bentos", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", checkout)
    built = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--version", "test"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    bento = tmp_path / "home" / "bentos" / "sentiment" / "test"
    source = {str(path.relative_to(bento / "src")) for path in (bento / "src").rglob("*.py")}
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "bentos").rglob("*.py")}
    assert source == ours
    pinned = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "bentoml==" in pinned
    assert "openvino==" in pinned
    assert not {"torch", "transformers", "mlflow"} & {line.partition("==")[0] for line in pinned.splitlines()}


def test_the_requirements_are_those_of_the_project() -> None:
    assert requirements.REQUIREMENTS.read_text() == requirements.text(), (
        "pyproject.toml or constraints.txt has changed: run `python -m tests.bentos.requirements`"
    )
