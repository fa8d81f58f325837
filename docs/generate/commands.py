"""The pages of `make help` and of every `python -m` command, from their own help."""

import argparse
import ast
import contextlib
import os
import re
import runpy
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from docs.generate.markdown import block
from docs.generate.markdown import page as markdown_page

PACKAGES = {
    "pipelines": "The pipeline",
    "bentos": "The Bento",
    "api": "The API",
    "deploy": "The stack",
    "benchmarks": "Benchmarks",
}
# Started by other processes, with arguments that only these know.
INTERNAL = re.compile(r"benchmarks\.(serving|training)\..+|deploy\.(env|local\.launch)|bentos\..*\.champion")
WIDTH = "86"


class Parsing(BaseException):
    """A command has come to parse its arguments; not an Exception, so that no command handles it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def modules(root: Path, package: str) -> Iterator[tuple[str, Path]]:
    """Each command of a package: the name that `python -m` takes, and its file."""
    for path in sorted((root / package).rglob("*.py")):
        if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__main__")
            if not INTERNAL.fullmatch(name):
                yield name, path


def takes_arguments(path: Path) -> bool:
    files = path.parent.glob("*.py") if path.name == "__main__.py" else [path]
    return any("argparse" in file.read_text(encoding="utf-8") for file in files)


def summary(path: Path) -> str:
    """The docstring of a command's module or, failing that, of its package."""
    for file in (path, path.with_name("__init__.py")):
        if file.exists() and (text := ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))):
            return text
    return ""


def parser(name: str) -> argparse.ArgumentParser:
    """The argument parser of a command, which is started and stopped where it would parse.

    Raises RuntimeError when it ends before.
    """

    def stop(self: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Parsing(self)

    with (
        tempfile.TemporaryDirectory() as empty,
        contextlib.chdir(empty),
        patch.object(argparse.ArgumentParser, "parse_known_args", stop),
        warnings.catch_warnings(action="ignore"),
    ):
        try:
            runpy.run_module(name, run_name="__main__")
        except Parsing as parsing:
            parsing.parser.prog = f"python -m {name}"
            return parsing.parser
    raise RuntimeError(f"python -m {name} did not parse its arguments")


def helps(command: argparse.ArgumentParser) -> Iterator[str]:
    """The help of a command and of each of its subcommands."""
    yield block(command.format_help())
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from helps(child)


def section(name: str, path: Path) -> Iterator[str]:
    yield f"### `python -m {name}`"
    if takes_arguments(path):
        yield from helps(parser(name))
    else:
        yield f"{summary(path)}\n\nTakes no arguments."


def page(root: Path) -> str:
    parts: list[str] = []
    with patch.dict(os.environ, {"COLUMNS": WIDTH, "DO_NOT_TRACK": "true", "BENTOML_DO_NOT_TRACK": "true"}):
        for package, title in PACKAGES.items():
            parts.append(f"## {title}")
            for name, path in modules(root, package):
                parts += section(name, path)
    return markdown_page("Commands", "the `--help` of each command", *parts)


def make_page(root: Path) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=root, capture_output=True, text=True, check=True
    )
    text = re.sub(r"\x1b\[\d*m", "", done.stdout)
    return markdown_page("make", "the Makefile", "`make help` prints this list.", block(text))
