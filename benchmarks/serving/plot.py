"""Plot of throughput and latency against the number of clients, with a column for each kind of text."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from benchmarks.serving.contenders import ENGINE, TITLES
from benchmarks.serving.table import Row, is_peer


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG. Peers are dashed; the engine alone is dotted, and its latency cannot be compared."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    figure = Figure(figsize=(6 * len(kinds), 8), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False, sharex=True)
    for column, kind in enumerate(kinds):
        upper, lower = axes[0][column], axes[1][column]
        upper.set_title(kind)
        for color, name in enumerate(dict.fromkeys(row.contender for row in rows)):
            own = [row for row in rows if (row.kind, row.contender) == (kind, name)]
            draw_line(upper, own, [row.throughput for row in own], color)
            if name != ENGINE:
                draw_line(lower, own, [row.p95 * 1000 for row in own], color)
        upper.set_ylabel("requests per second")
        lower.set_ylabel("95th percentile of latency, ms")
        lower.set_yscale("log")
        lower.set_xlabel("clients")
        upper.set_ylim(bottom=0)
        label_clients(lower, sorted({row.clients for row in rows}))
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)


def draw_line(axes: Axes, rows: Sequence[Row], values: Sequence[float], color: int) -> None:
    if not rows:
        return
    name = rows[0].contender
    style = ":" if name == ENGINE else "--" if is_peer(name) else "-"
    axes.plot(
        [row.clients for row in rows],
        values,
        style,
        marker="o",
        color="black" if name == ENGINE else f"C{color}",
        label=TITLES.get(name, name),
    )


def label_clients(axes: Axes, clients: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
