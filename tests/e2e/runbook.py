"""The operations page and its commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from deploy.local.postgres import BIN
from tests.deploy.queries import OPERATIONS
from tests.deploy.stack import Stack

PAGE = OPERATIONS.read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    """The shell blocks between a heading and the next one."""
    sections = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)
    (section,) = [part for part in sections if part.startswith(f"{heading}\n")]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run(stack: Stack, *commands: str, **variables: str) -> str:
    """Run commands after the variables of the page's first block; return their output, or fail.

    Replaces the documented ports by those of the stack, and the command that prints its DATABASE_URL by the
    result, which saves a process per call.
    """
    _, preamble, *_ = blocks("Operations")[0].splitlines()
    for port, name in (("8000", "API_PORT"), ("3000", "BENTO_PORT")):
        preamble = preamble.replace(f"http://127.0.0.1:{port}", stack.url(name, ""))
    preamble = preamble.replace("$(python -m deploy.local database-url)", stack.database_url)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(BIN), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([preamble, *commands])],
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
