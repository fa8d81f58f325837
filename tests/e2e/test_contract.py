"""The OpenAPI document and the commands of docs/how-to/call-the-api.md, tried on the whole running stack."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.stack import Stack
from tests.postgres import ROOT

CASES = 40
"""For each operation and phase. `--seed` makes a failure come again."""


def test_schemathesis_finds_nothing(stack: Stack, tmp_path: Path) -> None:
    """From generated requests, valid or not, to sequences of them; its toml says which checks are off."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
            *("run", stack.url("API_PORT", "/openapi.json")),
            *("--header", f"Authorization: Bearer {stack.api_key}"),
            *("--max-examples", str(CASES), "--seed", "1", "--no-color"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.e2e.hooks"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout


def block(language: str) -> str:
    """The page's first block in a language."""
    page = (ROOT / "docs" / "how-to" / "call-the-api.md").read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found
    return found[1].replace("http://127.0.0.1:8000", "$URL" if language == "sh" else "{URL}")


@pytest.fixture
def here(stack: Stack) -> dict[str, str]:
    return {**os.environ, "URL": stack.url("API_PORT", ""), "API_KEY": stack.api_key}


def test_the_curl_commands_work(stack: Stack, here: dict[str, str]) -> None:
    strict = 'set -euo pipefail; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
    done = subprocess.run(
        ["bash", "-c", strict + block("sh")],
        cwd=stack.root,
        env=here,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("201 Created", '"Dull on second viewing."', "204 No Content", '"model_version"'):
        assert said in done.stdout


def test_the_python_example_works(stack: Stack, here: dict[str, str]) -> None:
    script = block("python").replace("{URL}", here["URL"])
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=stack.root,
            env=here,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "'label': 'positive'" in done.stdout
    assert "edit conflict" in done.stdout, "the second run got the first one's answer, since edited"
