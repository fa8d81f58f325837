"""Checkpoints from which an interrupted training resumes: the Trainer's state and the id of its MLflow run.

Each training has a folder in var/checkpoints, named by a hash of its inputs: params, starting weights, data
and code. Rerunning the same training finds the same folder, even from the temporary workspace of
`dvc exp run --queue`.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import safetensors.torch
import torch
import transformers
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from pipelines.core.errors import PipelineError

# Written last: a checkpoint without this file is incomplete and is discarded.
COMPLETE = "complete"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training; `folder` need not exist yet."""

    folder: Path

    def keep_newest(self) -> Path | None:
        """Return the newest complete checkpoint and delete all others."""
        by_step = sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        complete = [path for path in by_step if (path / COMPLETE).exists()]
        for path in by_step:
            if path not in complete[-1:]:
                shutil.rmtree(path)
        return complete[-1] if complete else None

    def to_resume_from(self) -> Path | None:
        """Return the newest complete checkpoint and announce it on standard output."""
        newest = self.keep_newest()
        if newest:
            print(f"resuming from {newest.name}")
        return newest

    @property
    def run_id(self) -> str | None:
        """The id of the training's MLflow run, or None before it has started."""
        path = self.folder / "run.json"
        return str(json.loads(path.read_text())["run_id"]) if path.exists() else None

    def record_run(self, run_id: str) -> None:
        """Store the id of the training's MLflow run, replacing the file atomically."""
        scratch = self.folder / "run.json.new"
        scratch.write_text(json.dumps({"run_id": run_id}) + "\n")
        scratch.replace(self.folder / "run.json")

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder. Raises PipelineError if another process runs the same training."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / "lock", timeout=0):
                yield
        except Timeout:
            raise PipelineError(
                "another process is running the same training: wait for it to end, or change a param"
            ) from None

    @contextmanager
    def disk_space_for(self, model: torch.nn.Module) -> Iterator[None]:
        """Raise PipelineError if the disk is too full for a checkpoint, on entry or when a save fails."""
        needed = 3 * sum(weight.nbytes for weight in model.parameters())  # AdamW has two moments per weight
        self._require(needed)
        try:
            yield
        except (OSError, RuntimeError, SafetensorError):
            self._require(needed)
            raise

    def _require(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            newest = self.keep_newest()
            raise PipelineError(
                f"the disk of {self.folder} has {free >> 20} MiB free, but a checkpoint needs "
                f"{needed >> 20} MiB: free some space, then run the same command again; "
                + (f"training resumes from {newest.name}" if newest else "no checkpoint was saved yet")
            )


class PeriodicSave(TrainerCallback):
    """Save a checkpoint every `seconds` and at the end of each epoch.

    Saves happen only at steps that log: the Trainer does not checkpoint its running mean of the loss.
    """

    def __init__(self, checkpoints: Checkpoints, seconds: float) -> None:
        self.checkpoints = checkpoints
        self.seconds = seconds
        self.saved = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        control.should_save = control.should_log and time.monotonic() - self.saved >= self.seconds

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        control.should_log = control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        (self.checkpoints.folder / f"checkpoint-{state.global_step}" / COMPLETE).touch()
        self.checkpoints.keep_newest()
        self.saved = time.monotonic()


def find_checkpoints(
    params: dict[str, object], model: torch.nn.Module, files: Iterable[Path], code: Iterable[ModuleType]
) -> Checkpoints:
    """Return the checkpoints of the training that starts from `model` with these params, files and code.

    `code` lists the packages that compute the weights. Packages that only log or report are left out, so
    that editing a message does not invalidate checkpoints.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    digest.update(f"torch {torch.__version__} transformers {transformers.__version__}".encode())
    # named_parameters, unlike state_dict, lists weights shared between layers once.
    digest.update(safetensors.torch.save({name: w.detach() for name, w in model.named_parameters()}))
    modules = (path for package in code for path in sorted(Path(package.__path__[0]).rglob("*.py")))
    for path in (*files, *modules):
        digest.update(path.read_bytes())
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    return Checkpoints(root / "var" / "checkpoints" / digest.hexdigest()[:16])


def final_state(checkpoint: Path) -> TrainerState | None:
    """Return the Trainer's state if the checkpoint is at the last step, else None."""
    state: TrainerState = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state if state.global_step >= state.max_steps else None
