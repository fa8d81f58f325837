import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bentos import requirements
from tests.bentos.conftest import ROOT


@pytest.mark.process
def test_the_bento_contains_only_its_code_and_pinned_requirements(tmp_path: Path) -> None:
    """Built without network access: every proxy and index points to a closed port."""
    closed = "http://127.0.0.1:9"
    no_network = dict.fromkeys(("http_proxy", "https_proxy", "PIP_INDEX_URL", "UV_INDEX_URL"), closed)
    environment = {
        **os.environ,
        **no_network,
        "BENTOML_HOME": str(tmp_path / "home"),
        "BENTOML_DO_NOT_TRACK": "true",
    }
    # A copy, because BentoML walks the whole folder, and in the checkout files come and go meanwhile.
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
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "bentos").rglob("*.py")}
    assert source == expected
    pinned = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "bentoml==" in pinned
    assert "openvino==" in pinned
    assert not {"torch", "transformers", "mlflow"} & {line.partition("==")[0] for line in pinned.splitlines()}


def test_the_requirements_match_the_project() -> None:
    assert requirements.REQUIREMENTS.read_text() == requirements.text(), (
        "pyproject.toml or constraints.txt has changed: run `python -m tests.bentos.requirements`"
    )
