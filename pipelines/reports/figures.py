"""The look of the figures in reports."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GRID, BLUE, RED, GREY = "#24292f", "#d8dee4", "#1f6feb", "#cf4a3a", "#8c959f"


def axes(width: float = 5, height: float = 4) -> tuple[Figure, Axes]:
    """Return a figure with one plain plot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    drawn = figure.subplots()
    drawn.spines[["top", "right"]].set_visible(False)
    drawn.spines[["left", "bottom"]].set_color(GREY)
    drawn.tick_params(colors=INK, labelsize=9, color=GREY)
    drawn.grid(color=GRID, linewidth=0.6)
    drawn.set_axisbelow(True)
    return figure, drawn
