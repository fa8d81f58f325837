"""The evaluation report: a self-contained HTML page."""

from datetime import UTC, datetime

from matplotlib.figure import Figure

from pipelines.evaluate import plots
from pipelines.evaluate.findings import Findings
from pipelines.reports.pages import environment, inline, rows

FIGURES = {
    "accuracy": "correct predictions",
    "precision": "correct positive predictions",
    "recall": "positive reviews found",
    "f1": "harmonic mean of precision and recall",
    "roc_auc": "chance that a positive review ranks above a negative one",
    "pr_auc": "precision, averaged over recall",
    "log_loss": "lower is better",
    "brier": "squared error; lower is better",
}
"""A short explanation of each metric."""

NAMES = {"f1": "F1", "roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "brier": "Brier", "log_loss": "log loss"}


def drawn(found: Findings) -> dict[str, Figure]:
    """Draw the figures, by their names in the run."""
    labels, positive = found.labels, found.positive
    return {
        "calibration": plots.calibration(labels, found.before, positive),
        "confusion_matrix": plots.confusion(labels, positive),
        "roc": plots.roc(labels, positive),
        "precision_recall": plots.precision_recall(labels, positive),
        "probabilities": plots.histogram(labels, positive),
        "history": plots.history(found.trained.history),
        "slices": plots.slices(found.slices, found.metrics["accuracy"]),
    }


def page(found: Findings, figures: dict[str, Figure]) -> str:
    """Render the report as HTML."""
    return (
        environment("pipelines.evaluate")
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
