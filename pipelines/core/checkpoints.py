"""Checkpoints from which an interrupted training resumes: the Trainer's state and the id of its MLflow run.

Each training has a folder in var/checkpoints, named by a hash of its inputs: params, starting weights, data
and code. Rerunning the same training finds the same folder, even from the temporary workspace of
`dvc exp run --queue`.

DVC deletes a stage's outputs before it runs the stage, and caches the new ones only after it has ended. The
last checkpoint of a finished training is therefore kept until the next stage starts (`discard_obsolete`).
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import safetensors.torch
import torch
import transformers
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, TRAINER_STATE_NAME

from pipelines.core.errors import PipelineError

# Written last: a checkpoint without this file is incomplete and is discarded.
COMPLETE = "complete"
# Holds the folder in which the training's stage ran, once the stage has written its outputs there.
FINISHED = "finished"
# The loss since the last log.
RUNNING_LOSS = "running_loss.json"

# After which an interrupted training is taken for abandoned.
KEPT_DAYS = 14


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training; `folder` need not exist yet."""

    folder: Path

    def at(self, step: int) -> Path:
        """Return the folder in which the Trainer saves the checkpoint of this step."""
        return self.folder / f"checkpoint-{step}"

    def keep_newest(self) -> Path | None:
        """Return the newest complete checkpoint and delete all others."""
        by_step = sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        complete = [path for path in by_step if (path / COMPLETE).exists()]
        for path in by_step:
            if path not in complete[-1:]:
                shutil.rmtree(path)
        return complete[-1] if complete else None

    def finish(self) -> None:
        """Keep only what restores the outputs that the stage has written, without the optimizer's state."""
        if newest := self.keep_newest():
            (newest / OPTIMIZER_NAME).unlink(missing_ok=True)
        (self.folder / FINISHED).write_text(str(Path.cwd()))

    @property
    def obsolete(self) -> bool:
        """Whether the training finished and the next stage has started, or was interrupted long ago.

        Stages run one after another in a folder. So DVC has cached the outputs when another stage starts in
        the folder in which this training finished, and when that folder was temporary and is gone.
        """
        marker = self.folder / FINISHED
        if not marker.exists():
            return time.time() - self.folder.stat().st_mtime > KEPT_DAYS * 86_400
        workspace = Path(marker.read_text())
        return workspace == Path.cwd() or not workspace.exists()

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

    The Trainer's checkpoints lack the loss since the last log, which the next log averages. It is saved with
    them, so that any step can save, and a resumed training logs what an uninterrupted one does.
    """

    def __init__(self, trainer: Trainer, checkpoints: Checkpoints, seconds: float) -> None:
        self.trainer = trainer
        self.checkpoints = checkpoints
        self.seconds = seconds
        self.saved = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self.saved = time.monotonic()
        if state.global_step:
            running = json.loads((self.checkpoints.at(state.global_step) / RUNNING_LOSS).read_text())
            self.trainer._tr_loss += running["loss"]
            self.trainer._globalstep_last_logged = running["logged_step"]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        # The end of an epoch saves after its last step has been evaluated.
        ends_epoch = state.global_step == state.max_steps or float(state.epoch or 0).is_integer()
        control.should_save = not ends_epoch and time.monotonic() - self.saved >= self.seconds

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        control.should_log = control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        folder = self.checkpoints.at(state.global_step)
        running = {
            "loss": float(self.trainer._tr_loss),
            "logged_step": self.trainer._globalstep_last_logged,
        }
        (folder / RUNNING_LOSS).write_text(json.dumps(running))
        (folder / COMPLETE).touch()
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
    return Checkpoints(root() / digest.hexdigest()[:16])


def root() -> Path:
    """Return the folder of all checkpoints; DVC_ROOT names the project in a temporary workspace of DVC."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / "var" / "checkpoints"


def discard_obsolete(current: Checkpoints | None = None) -> None:
    """Delete the checkpoints of obsolete trainings, except those of `current` and those in use."""
    for checkpoints in map(Checkpoints, root().glob("*")):
        # Another process may be using this folder, or have just deleted it.
        with suppress(PipelineError, FileNotFoundError):
            if checkpoints != current and checkpoints.obsolete:
                with checkpoints.locked():
                    checkpoints.delete()


def final_state(checkpoint: Path) -> TrainerState | None:
    """Return the Trainer's state if the training ended at the checkpoint, with the last step or early."""
    file = checkpoint / TRAINER_STATE_NAME
    control = json.loads(file.read_text())["stateful_callbacks"]["TrainerControl"]
    ended = control["args"]["should_training_stop"]
    return TrainerState.load_from_json(str(file)) if ended else None
