"""The commands of the API, run as processes or, several times faster, in this process."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from tests.postgres import ROOT, database_urls, environment


@dataclass(frozen=True)
class Done:
    """The exit code of a command, and its standard output and error together."""

    returncode: int
    output: str


def run_process(module: str, *words: str, database_url: str) -> Done:
    """Run `python -m MODULE`."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**os.environ, **database_urls(database_url)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return Done(done.returncode, done.stdout)


async def run_main(
    main: Callable[[], int | None], *words: str, database_url: str, stdin: str = "", **variables: str
) -> Done:
    """Run a command's `main` in a thread, where it may start an event loop; one at a time."""
    output = io.StringIO()

    def run() -> int:
        try:
            return main() or 0
        except SystemExit as ended:
            if isinstance(ended.code, int):
                return ended.code
            print(ended.code, file=output)
            return 1

    with (
        pytest.MonkeyPatch.context() as patch,
        environment({**database_urls(database_url), **variables}),
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        patch.setattr(sys, "argv", [main.__module__, *words])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        returncode = await asyncio.to_thread(run)
    return Done(returncode, output.getvalue())
