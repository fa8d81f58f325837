"""Temporary copies of this project, with a sample of the real reviews."""

import contextlib
import csv
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from tests import warm_stages

ROOT = Path(__file__).parents[1]
PROJECT_FILES = (
    *("api", "alembic", "bentos", "deploy", "pipelines"),
    *(".dvc/config", ".dvcignore", ".env.example", ".gitignore", "README.md"),
    *("alembic.ini", "dvc.yaml", "params.yaml", "pyproject.toml", "sweep.yaml"),
)
# The short trainings of the tests do not pass the behavioural tests.
NO_BEHAVIOUR_LIMITS = {
    "behaviour": dict.fromkeys(
        (
            *("invariance_names", "invariance_typos", "negation", "intensity", "minimum_function"),
            *("emoji", "rating"),
        ),
        0.0,
    )
}


def variables(settings: type[BaseSettings]) -> set[str]:
    """Return the names of the environment variables that these settings read."""
    prefix = settings.model_config.get("env_prefix", "")
    aliases = {name: field.validation_alias for name, field in settings.model_fields.items()}
    return {
        str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{prefix}{name}".upper()
        for name, alias in aliases.items()
    }


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a command in a project, without variables that name another store or folder.

    Commands of the pipeline in it are forked with their imports done (tests.warm_stages).
    """
    excluded = ("MLFLOW_", "DVC_", "SWEEP_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(excluded)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    return inherited | {"PATH": path, "DO_NOT_TRACK": "true"} | warm_stages.environment() | dict(more)


@dataclass(frozen=True)
class Project:
    """A git and DVC project in `folder`; its MLflow store is in `folder`/var."""

    folder: Path

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder / 'var' / 'mlflow.db'}"

    def run(
        self, *words: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; with `check`, assert that it succeeds."""
        done = subprocess.run(
            words, cwd=self.folder, env=environment(env or {}), capture_output=True, text=True
        )
        assert not check or done.returncode == 0, f"{words}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    def run_module(
        self, name: str, *words: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m pipelines.NAME WORDS` in the project."""
        return self.run("python", "-m", f"pipelines.{name}", *words, check=check, env=env)

    def set_params(self, **changes: Mapping[str, object]) -> None:
        """Change sections of params.yaml."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in changes.items():
            params[section] |= values
        path.write_text(yaml.safe_dump(params))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message)


def make_project(folder: Path, reviews: Path, count: int) -> Project:
    """Copy this project to `folder`, with `count` evenly spaced rows of `reviews` as data, and commit it."""
    project = Project(folder)
    project.run("git", "init", "--quiet")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PROJECT_FILES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    with reviews.open(newline="") as file:
        rows = list(csv.reader(file))
    step = max(1, (len(rows) - 1) // count)
    (folder / "data").mkdir()
    with (folder / "data" / "reviews.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([rows[0], *rows[1::step][:count]])
    project.run("dvc", "add", "--quiet", "data")
    project.commit("a sample of the data")
    return project


def copy_project(project: Project, folder: Path) -> Project:
    """Copy the project to a new folder, with absolute paths in the MLflow store changed to that folder.

    Only the MLflow store is copied from var/, since a stack may be running there.
    """
    var, store = project.folder / "var", "mlflow.db"

    def ignored(path: str, names: list[str]) -> set[str]:
        return set(names) - {"mlartifacts"} if Path(path) == var else set()

    shutil.copytree(project.folder, folder, symlinks=True, ignore=ignored)
    old, new = str(project.folder), str(folder)
    with (
        contextlib.closing(sqlite3.connect(var / store)) as original,
        contextlib.closing(sqlite3.connect(folder / "var" / store)) as database,
    ):
        original.backup(database)
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                # The names of tables and columns come from the database itself.
                update = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?)'  # noqa: S608
                database.execute(f'{update} WHERE instr("{column}", ?)', (old, new, old))
        database.commit()
    return Project(folder)
