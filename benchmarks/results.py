"""Writes the results of a benchmark: table.json, table.md and plot.png."""

import json
import math
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.core.processor import processor


def write(
    folder: Path,
    content: Mapping[str, object],
    table: str,
    draw_plot: Callable[[Path], None] | None = None,
) -> None:
    """Write the results to `folder`, and print the Markdown table.

    table.json gets `content` and a description of the machine. NaN becomes null, because JSON has no NaN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    complete = without_nan({"machine": machine(), **content})
    (folder / "table.json").write_text(json.dumps(complete, indent=2) + "\n")
    (folder / "table.md").write_text(table)
    if draw_plot:
        draw_plot(folder / "plot.png")
    print(f"\n{table}\nResults are in {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


def without_nan(value: object) -> object:
    """Return a copy of nested dictionaries and lists with None instead of NaN."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def machine() -> dict[str, object]:
    return {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(terse=True)}
