"""Training that was killed goes on where it was: the state of the Trainer, and the run it belongs to.

They are in var/checkpoints, a folder for each training, named by all that its result follows from. So the
same training finds it again, also from the folder of its own in which `dvc exp run --queue` starts it, and
any other training does not.
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

# Is in a checkpoint last, so that one in whose midst we were killed is none.
COMPLETE = "complete"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training; `folder` need not exist yet."""

    folder: Path

    def newest(self) -> Path | None:
        """The newest complete checkpoint; what is older or incomplete is deleted."""
        by_step = sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        complete = [path for path in by_step if (path / COMPLETE).exists()]
        for path in by_step:
            if path not in complete[-1:]:
                shutil.rmtree(path)
        return complete[-1] if complete else None

    def to_resume_from(self) -> Path | None:
        """The newest complete checkpoint, announced on standard output."""
        newest = self.newest()
        if newest:
            print(f"resuming from {newest.name}")
        return newest

    @property
    def run_id(self) -> str | None:
        """The MLflow run that the training was begun in."""
        path = self.folder / "run.json"
        return str(json.loads(path.read_text())["run_id"]) if path.exists() else None

    def belong_to(self, run_id: str) -> None:
        scratch = self.folder / "run.json.new"
        scratch.write_text(json.dumps({"run_id": run_id}) + "\n")
        scratch.replace(self.folder / "run.json")

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the training: raises PipelineError when another process is at it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / "lock", timeout=0):
                yield
        except Timeout:
            raise PipelineError(
                "another process trains on the same data with the same params: wait for it, or change a param"
            ) from None

    @contextmanager
    def room_for(self, model: torch.nn.Module) -> Iterator[None]:
        """Turn what a full disk causes into a PipelineError that says how much is needed, now or later."""
        needed = 3 * sum(weight.nbytes for weight in model.parameters())  # AdamW keeps two numbers for each
        self._require(needed)
        try:
            yield
        except (OSError, RuntimeError, SafetensorError):
            self._require(needed)
            raise

    def _require(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            newest = self.newest()
            raise PipelineError(
                f"the disk of {self.folder} has {free >> 20} MiB free, and a checkpoint needs "
                f"{needed >> 20}: make room, then run the same command again; "
                + (f"it goes on from {newest.name}" if newest else "nothing was trained yet")
            )


class SaveInTime(TrainerCallback):
    """Saves when `seconds` are over, and at the end of an epoch.

    Only where the loss is logged as well: the mean since the last time is not in a checkpoint.
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
        self.checkpoints.newest()
        self.saved = time.monotonic()


def find(
    params: dict[str, object], model: torch.nn.Module, files: Iterable[Path], code: Iterable[ModuleType]
) -> Checkpoints:
    """The checkpoints of the training that starts from `model` with these params, files and code.

    `code` is the packages that compute the result. Code that only logs, prints or raises errors is not among
    them, so that a changed message does not discard hours of training.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    digest.update(f"torch {torch.__version__} transformers {transformers.__version__}".encode())
    # Not its state_dict, in which weights that two layers share would be twice.
    digest.update(safetensors.torch.save({name: w.detach() for name, w in model.named_parameters()}))
    modules = (path for package in code for path in sorted(Path(package.__path__[0]).rglob("*.py")))
    for path in (*files, *modules):
        digest.update(path.read_bytes())
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    return Checkpoints(root / "var" / "checkpoints" / digest.hexdigest()[:16])


def finished(checkpoint: Path) -> TrainerState | None:
    """The state of a training whose last step is in the checkpoint; none while steps are left."""
    state: TrainerState = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state if state.global_step >= state.max_steps else None
