"""The evaluation as one page that needs nothing else: no network, no server, no other file."""

import base64
import io
from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from pipelines.evaluate import plots
from pipelines.evaluate.findings import Findings

FIGURES = {
    "accuracy": "right answers",
    "precision": "of those called positive, that are",
    "recall": "of the positive, those called so",
    "f1": "of precision and recall",
    "roc_auc": "a positive one ranks above a negative",
    "pr_auc": "precision, averaged over recall",
    "log_loss": "less is better",
    "brier": "squared error; less is better",
    "ece": "of the confidence; less is better",
}
"""What each figure says, in a few words."""

NAMES = {"f1": "F1", "roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "brier": "Brier", "log_loss": "log loss"}
NAMES |= {"ece": "calibration error"}


def environment() -> Environment:
    """Templates of this package. In HTML every value is escaped: reviews are texts of strangers."""
    return Environment(
        loader=PackageLoader("pipelines.evaluate"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def drawn(found: Findings) -> dict[str, Figure]:
    """The figures by the names that they have in the run."""
    labels, positive = found.labels, found.positive
    return {
        "calibration": plots.calibration(labels, found.before, positive),
        "confusion_matrix": plots.confusion(labels, positive),
        "roc": plots.roc(labels, positive),
        "precision_recall": plots.precision_recall(labels, positive),
        "probabilities": plots.histogram(labels, positive),
        "history": plots.history(found.origin.history),
        "slices": plots.slices(found.slices, found.metrics["accuracy"]),
    }


def inline(figure: Figure) -> str:
    """The figure as the address of an image."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def rows(reviews: pd.DataFrame, columns: Sequence[str]) -> list[list[object]]:
    """The columns of the reviews, one list each; labels in words."""
    worded = reviews.assign(label=reviews["label"].map({0: "negative", 1: "positive"}))
    return [list(row) for row in worded[list(columns)].itertuples(index=False)]


def page(found: Findings, figures: dict[str, Figure]) -> str:
    """The report as HTML."""
    return (
        environment()
        .get_template("report.html")
        .render(
            found=found,
            figures=FIGURES,
            names=NAMES,
            images={name: inline(figure) for name, figure in figures.items()},
            errors=rows(found.errors, ["loss", "label", "positive", "movie_id", "review_id", "text"]),
            doubted=rows(found.doubted, ["positive", "label", "movie_id", "review_id", "text"]),
            slices=[list(row) for row in found.slices.itertuples(index=False)],
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )
