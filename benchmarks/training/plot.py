"""Plot of the training loss over the training time of each contender."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.training.table import Slices, Steps


def running_seconds(moment: float, slices: Slices) -> float:
    """Return the time for which a contender had run at `moment`, without the pauses."""
    return sum(min(end, moment) - start for start, end in slices if start < moment)


def draw(contenders: Mapping[str, tuple[Steps, Slices]], path: Path) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, (steps, slices) in contenders.items():
        logged = [(step["time"], loss) for step in steps if (loss := step["loss"]) is not None]
        seconds = [running_seconds(moment, slices) for moment, _ in logged]
        losses = [loss for _, loss in logged]
        axes.plot(seconds, losses, label=name)
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("training loss, mean of 20 steps")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend()
    figure.savefig(path, dpi=120)
