"""Which trial of which sweep a process runs: the sweep passes it to the stages in environment variables."""

import os
from dataclasses import dataclass

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID


@dataclass(frozen=True)
class Identity:
    """The trial that this process runs, passed by the sweep in environment variables."""

    database: str
    study: str
    number: int
    parent_run: str
    startup: int
    """Finished trials before pruning starts; 0: this trial is not pruned."""

    def environment(self) -> dict[str, str]:
        """Return the environment variables for the trial's process."""
        return {
            "SWEEP_DATABASE": self.database,
            "SWEEP_STUDY": self.study,
            "SWEEP_TRIAL": str(self.number),
            "SWEEP_PARENT_RUN": self.parent_run,
            "SWEEP_STARTUP": str(self.startup),
        }

    def tags(self) -> dict[str, str]:
        """Return the tags of the trial's run; MLflow nests it below the study's run."""
        return {
            MLFLOW_PARENT_RUN_ID: self.parent_run,
            "sweep.study": self.study,
            "sweep.trial": str(self.number),
        }


def identity() -> Identity | None:
    """Return the trial that this process runs, or None outside a sweep."""
    env = os.environ
    if "SWEEP_TRIAL" not in env:
        return None
    return Identity(
        database=env["SWEEP_DATABASE"],
        study=env["SWEEP_STUDY"],
        number=int(env["SWEEP_TRIAL"]),
        parent_run=env["SWEEP_PARENT_RUN"],
        startup=int(env["SWEEP_STARTUP"]),
    )


def trial_tags() -> dict[str, str]:
    """Return the tags that a sweep adds to the run; empty outside a sweep."""
    trial = identity()
    return trial.tags() if trial else {}
