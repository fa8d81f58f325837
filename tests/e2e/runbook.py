"""docs/how-to/operations.md and its commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from deploy.local.postgres import BIN
from tests.deploy.stack import Stack
from tests.postgres import ROOT

PAGE = (ROOT / "docs/how-to/operations.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    """The commands between a heading and the next."""
    sections = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)
    (section,) = [part for part in sections if part.startswith(f"{heading}\n")]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run(stack: Stack, *commands: str, **variables: str) -> str:
    """What commands print that come after those at the beginning of the page. Fails when one of them does."""
    _, where, *_ = blocks("Operations")[0].splitlines()
    for port, name in (("8000", "API_PORT"), ("3000", "BENTO_PORT")):
        where = where.replace(f"http://127.0.0.1:{port}", stack.url(name, ""))
    path = os.pathsep.join([str(Path(sys.executable).parent), str(BIN), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([where, *commands])],
        cwd=stack.root,
        env={**stack.environment, "PATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    return done.stdout
