"""The OpenAPI document and the documented client code, tested against the running stack."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.stack import Stack
from tests.postgres import ROOT

CASES = 40
"""Per operation and phase. `--seed` makes failures reproducible."""


def test_schemathesis_finds_no_violation(stack: Stack, tmp_path: Path) -> None:
    """Sends generated requests, valid and invalid, and sequences of them."""
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


CLIENTS = ROOT / "docs" / "how-to" / "call-the-api.md"


def block(language: str) -> str:
    """Return the first code block of a language in the documentation for clients."""
    page = CLIENTS.read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found
    return found[1].replace("http://127.0.0.1:8000", "$URL" if language == "sh" else "{URL}")


@pytest.fixture
def client_environment(stack: Stack) -> dict[str, str]:
    return {**os.environ, "URL": stack.url("API_PORT", ""), "API_KEY": stack.api_key}


def test_the_documented_curl_commands_work(stack: Stack, client_environment: dict[str, str]) -> None:
    strict = 'set -euo pipefail; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
    done = subprocess.run(
        ["bash", "-c", strict + block("sh")],
        cwd=stack.root,
        env=client_environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("201 Created", '"Dull on second viewing."', "204 No Content", '"model_version"'):
        assert expected in done.stdout


def test_the_documented_python_code_works(stack: Stack, client_environment: dict[str, str]) -> None:
    script = block("python").replace("{URL}", client_environment["URL"])
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=stack.root,
            env=client_environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "'label': 'positive'" in done.stdout
    assert "edit conflict" in done.stdout, "the second run updates an outdated review"
