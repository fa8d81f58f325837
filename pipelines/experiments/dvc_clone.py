"""DVC experiments in temporary clones, so that they run in parallel and leave the user's folder unchanged."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from pipelines.core.errors import PipelineError

ENDING_SECONDS = 20
EVALUATION = "results/evaluate"

Stage = Literal["train", "evaluate"]


@dataclass(frozen=True)
class Outcome:
    """An experiment's exit code and, if it is 0, its MLflow run and accuracy on the validation reviews.

    The accuracy is the served form's or, if the pipeline ended with `train`, the trained model's.
    """

    code: int
    run_id: str = ""
    accuracy: float = 0.0


@dataclass(frozen=True)
class Workspace:
    """A clone of the project in `folder`, with the project's files at the time of cloning."""

    project: Path
    folder: Path

    def run(
        self,
        name: str,
        overrides: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        started: Callable[[int], None],
        stage: Stage = "evaluate",
    ) -> Outcome:
        """Run the pipeline up to `stage` as the DVC experiment `name`, and publish it to the project.

        Output goes to `log`; `started` receives the process group's id. On an interruption, all processes of
        the experiment are ended first. params.yaml is restored afterwards: DVC leaves the overrides in it,
        which the next experiment would inherit.
        """
        if stage == "train":
            # `dvc exp show` would show the committed model's evaluation as this experiment's.
            shutil.rmtree(self.folder / EVALUATION, ignore_errors=True)
        params = self.folder / "params.yaml"
        before = params.read_bytes()
        sets = [word for override in overrides for word in ("--set-param", override)]
        command = ["dvc", "exp", "run", "--name", name, *sets, stage]
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                # If the folder is deleted, git must not fall back to the project's repository above it.
                env=environment_of_children(
                    {**environment, "GIT_CEILING_DIRECTORIES": str(self.folder.parent.resolve())}
                ),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a new process group, so that it can be ended as a whole
            )
            try:
                started(process.pid)
                code = process.wait()
            except BaseException:
                end_group(process.pid)
                process.wait()
                raise
            finally:
                params.write_bytes(before)
        if code:
            return Outcome(code)
        self.publish(name)
        run_id: str = self.read("results/train/run.json")["run_id"]
        return Outcome(0, run_id, self.accuracy(stage))

    def accuracy(self, stage: Stage) -> float:
        """Return the accuracy on the validation reviews that the stage measured last."""
        if stage == "evaluate":
            return float(self.read(f"{EVALUATION}/metrics.json")["accuracy"])
        with (self.folder / "results/train/history.csv").open(newline="") as file:
            measured = [row["validation_accuracy"] for row in csv.DictReader(file)]
        return float(next(filter(None, reversed(measured))))

    def publish(self, name: str) -> None:
        """Push the experiment's git ref to the project; DVC's cache is already shared."""
        refs = git(self.folder, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
        for ref in refs:
            if ref.endswith(f"/{name}"):
                git(self.folder, "push", "--quiet", "--force", str(self.project), f"{ref}:{ref}")

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


@contextmanager
def workspace(project: Path, folder: Path) -> Iterator[Workspace]:
    """Yield a clone in `folder` with the project's committed and uncommitted files; remove it at the end."""
    try:
        clone(project, folder)
        yield Workspace(project, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(work: Path) -> None:
    """Delete the clones of processes that no longer exist; each is named after its process id."""
    for folder in work.glob("*"):
        if not psutil.pid_exists(int(folder.name)):
            shutil.rmtree(folder, ignore_errors=True)


def clone(project: Path, folder: Path) -> None:
    """Clone the project, sharing its git objects, DVC cache and checkpoints.

    The clone is deleted with its process; a retry of an interrupted trial resumes in another.
    """
    git(project, "clone", "--quiet", "--shared", str(project), str(folder))
    listed = git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in (*filter(None, listed.split("\0")), ".dvc/config.local"):
        source, copy = project / name, folder / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
        else:
            copy.unlink(missing_ok=True)
    cache = (project / dvc(project, "cache", "dir").strip()).resolve()
    dvc(folder, "cache", "dir", "--local", str(cache))
    dvc(folder, "checkout", "--quiet", "data.dvc")
    checkpoints = project / "var" / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    (folder / "var").mkdir(exist_ok=True)
    (folder / "var" / "checkpoints").symlink_to(checkpoints.resolve())


def environment_of_children(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without DVC's stage variables and with this Python's programs first in PATH."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    return inherited | {"PATH": path} | dict(more or {})


def end_group(group: int) -> None:
    """End a process group with SIGINT and, after ENDING_SECONDS, with SIGKILL."""
    members = [process for process in psutil.process_iter() if _group(process.pid) == group]
    for sign in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(group, sign)
        except ProcessLookupError:
            return
        psutil.wait_procs(members, timeout=ENDING_SECONDS)


def git(folder: Path, *words: str) -> str:
    return _run("git", folder, words)


def dvc(folder: Path, *words: str) -> str:
    return _run("dvc", folder, words)


def _run(program: str, folder: Path, words: tuple[str, ...]) -> str:
    done = subprocess.run(
        [program, *words], cwd=folder, env=environment_of_children(), capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PipelineError(f"`{program} {words[0]}` failed in {folder}: {last}")
    return done.stdout


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1
