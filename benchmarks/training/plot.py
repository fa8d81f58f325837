"""Training loss against the seconds that each contender had."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.training.table import Steps, Turns


def seconds_had(moment: float, turns: Turns) -> float:
    """How long a contender had run at `moment`, its waiting left out."""
    return sum(min(ended, moment) - began for began, ended in turns if began < moment)


def draw(contenders: Mapping[str, tuple[Steps, Turns]], path: Path) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, (steps, turns) in contenders.items():
        logged = [(step["time"], loss) for step in steps if (loss := step["loss"]) is not None]
        seconds = [seconds_had(moment, turns) for moment, _ in logged]
        losses = [loss for _, loss in logged]
        axes.plot(seconds, losses, label=name)
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("training loss, mean of 20 steps")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend()
    figure.savefig(path, dpi=120)
