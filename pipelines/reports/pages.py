"""Reports as HTML pages that need no other file: templates, and figures as data URLs."""

import base64
import io
from collections.abc import Sequence

import matplotlib
import pandas as pd
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from pipelines.core.reviews import LABELS


def environment(package: str) -> Environment:
    """Return a package's templates and this one's, with HTML escaping: reviews are untrusted text."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("pipelines.reports")]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inline(figure: Figure) -> str:
    """Return the figure as an SVG data URL."""
    file = io.BytesIO()
    # Without a salt the ids in the SVG are random, and with them the hash of the page.
    with matplotlib.rc_context({"svg.hashsalt": "report"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def rows(reviews: pd.DataFrame, columns: Sequence[str]) -> list[list[object]]:
    """Return the reviews' columns, one list per review, with labels as words."""
    worded = reviews.assign(label=reviews["label"].map(dict(enumerate(LABELS))))
    return [list(row) for row in worded[list(columns)].itertuples(index=False)]
