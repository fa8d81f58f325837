"""Plot of the accuracy gain from each change."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.ablation.table import UNCHANGED, Row


def draw(rows: Sequence[Row], path: Path) -> None:
    changes = [row for row in rows if row.change != UNCHANGED]
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(changes)), layout="constrained")
    axes = figure.subplots()
    for line, row in enumerate(changes):
        value, low, high = (100 * bound for bound in row.accuracy_gain)
        axes.errorbar(value, line, xerr=[[value - low], [high - value]], fmt="o", color="C0", capsize=3)
        points = [100 * gain for gain in row.gain_by_seed.values()]
        axes.plot(points, [line] * len(points), "|", color="C1", markersize=12)
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(range(len(changes)), [row.change for row in changes])
    axes.set_ylim(len(changes) - 0.5, -0.5)
    axes.set_xlabel("accuracy gain in percentage points: 95 % interval, and each seed")
    figure.savefig(path, dpi=120)
