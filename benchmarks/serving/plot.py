"""The table as a picture: throughput above, latency below, a column for each kind of texts."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from benchmarks.serving.catalogue import ENGINE, TITLES
from benchmarks.serving.table import Row, is_peer


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG; peers are dashed, the bare engine is dotted and has no latency to compare."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    figure = Figure(figsize=(6 * len(kinds), 8), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False, sharex=True)
    for column, kind in enumerate(kinds):
        upper, lower = axes[0][column], axes[1][column]
        upper.set_title(kind)
        for place, name in enumerate(dict.fromkeys(row.contender for row in rows)):
            of_one = [row for row in rows if (row.kind, row.contender) == (kind, name)]
            line(upper, of_one, [row.throughput for row in of_one], place)
            if name != ENGINE:
                line(lower, of_one, [row.p95 * 1000 for row in of_one], place)
        upper.set_ylabel("answers a second")
        lower.set_ylabel("95th percentile, ms")
        lower.set_yscale("log")
        lower.set_xlabel("clients")
        upper.set_ylim(bottom=0)
        label_clients(lower, sorted({row.clients for row in rows}))
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)


def line(axes: Axes, rows: Sequence[Row], values: Sequence[float], place: int) -> None:
    if not rows:
        return
    name = rows[0].contender
    style = ":" if name == ENGINE else "--" if is_peer(name) else "-"
    color = "black" if name == ENGINE else f"C{place}"
    clients = [row.clients for row in rows]
    axes.plot(clients, values, style, marker="o", color=color, label=TITLES.get(name, name))


def label_clients(axes: Axes, clients: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
