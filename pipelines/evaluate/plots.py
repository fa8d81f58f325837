"""The figures of the report and the MLflow run."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import auc, average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from pipelines.reports.figures import BLUE, GREY, INK, RED, axes
from pipelines.statistics.calibration import calibration_error, reliability

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]

CURVE_POINTS = 200


def calibration(labels: Labels, before: Array, after: Array) -> Figure:
    """Plot accuracy by confidence, before and after temperature scaling."""
    figure, plot = axes()
    plot.plot([0.5, 1], [0.5, 1], color=GREY, linestyle=":", label="perfectly calibrated")
    for answers, name, colour in ((before, "before", GREY), (after, "after, as served", BLUE)):
        table = reliability(labels, answers)
        error = calibration_error(labels, answers)
        plot.plot(table["confidence"], table["accuracy"], color=colour, label=f"{name}: error {error:.3f}")
        plot.scatter(table["confidence"], table["accuracy"], 4 + 200 * share(table["count"]), color=colour)
    plot.set(xlabel="confidence", ylabel="accuracy", xlim=(0.49, 1.01))
    plot.legend(frameon=False, fontsize=9)
    return figure


def share(counts: pd.Series) -> pd.Series:
    return counts / counts.sum()


def roc(labels: Labels, positive: Array) -> Figure:
    """Plot the true against the false positive rate at every threshold."""
    figure, plot = axes()
    false_rate, true_rate, _ = roc_curve(labels, positive)
    plot.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance: 0.5")
    plot.plot(false_rate, true_rate, color=BLUE, label=f"area {auc(false_rate, true_rate):.4f}")
    plot.set(xlabel="false positive rate", ylabel="true positive rate")
    plot.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def precision_recall(labels: Labels, positive: Array) -> Figure:
    """Plot precision against recall."""
    figure, plot = axes()
    precision, recall, _ = precision_recall_curve(labels, positive)
    area, base = average_precision_score(labels, positive), float(labels.mean())
    plot.axhline(base, color=GREY, linestyle=":", label=f"chance: {base:.3f}")
    plot.plot(recall, precision, color=BLUE, label=f"area {area:.4f}")
    plot.set(xlabel="recall", ylabel="precision", ylim=(min(base, precision.min()) - 0.05, 1.02))
    plot.legend(frameon=False, fontsize=9, loc="center left")
    return figure


def confusion(labels: Labels, positive: Array) -> Figure:
    """Plot the confusion matrix: counts, and their share of the label's reviews."""
    figure, plot = axes()
    plot.grid(visible=False)
    table = confusion_matrix(labels, positive >= 0.5, labels=[0, 1])
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    plot.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), part in np.ndenumerate(shares):
        colour = "white" if part > 0.5 else INK
        words = f"{table[row, column]:,}\n{part:.1%}"
        plot.text(column, row, words, ha="center", va="center", color=colour, fontsize=13)
    names = ["negative", "positive"]
    plot.set(xticks=[0, 1], yticks=[0, 1], xticklabels=names, yticklabels=names)
    plot.set(xlabel="predicted", ylabel="labelled")
    return figure


def histogram(labels: Labels, positive: Array) -> Figure:
    """Plot the distribution of the probabilities for each label."""
    figure, plot = axes()
    bins = np.linspace(0, 1, 41).tolist()
    for label, name, colour in ((0, "labelled negative", RED), (1, "labelled positive", BLUE)):
        plot.hist(positive[labels == label], bins, color=colour, alpha=0.6, label=name)
    plot.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
    plot.set(xlabel="probability of being positive", ylabel="reviews")
    plot.legend(frameon=False, fontsize=9, loc="upper center")
    return figure


def slices(table: pd.DataFrame, accuracy: float) -> Figure:
    """Plot each slice's accuracy with its interval, and the overall accuracy as a line."""
    figure, plot = axes(10.3, 1 + 0.24 * len(table))
    places = np.arange(len(table))[::-1]
    wide = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
    plot.axvline(accuracy, color=GREY, linestyle=":")
    plot.errorbar(table["accuracy"], places, xerr=wide, fmt="o", color=BLUE, markersize=4, linewidth=1.2)
    names = [
        f"{row.slice}: {row.value}  ({row.count:,})" for row in table.itertuples(index=False, name="Row")
    ]
    plot.set(
        yticks=places,
        yticklabels=names,
        xlabel="accuracy, with simultaneous 95 % intervals; dotted: all reviews",
    )
    plot.set_ylim(-0.7, len(table) - 0.3)
    return figure


def history(steps: pd.DataFrame) -> Figure:
    """Plot the logged losses by step."""
    figure, plot = axes()
    for column, name, marker, colour in (
        ("loss", "training", "", BLUE),
        ("validation_loss", "validation", "o", RED),
    ):
        logged = steps[["step", column]].apply(pd.to_numeric, errors="coerce").dropna()
        plot.plot(logged["step"], logged[column], color=colour, marker=marker, label=name)
    plot.set(xlabel="step", ylabel="loss")
    plot.legend(frameon=False, fontsize=9)
    return figure


def curves(labels: Labels, positive: Array) -> dict[str, pd.DataFrame]:
    """Return the ROC and precision-recall curves as tables for `dvc plots`, small enough for git."""
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, positive)
    precision, recall, _ = precision_recall_curve(labels, positive)
    tables = {
        "roc": pd.DataFrame(
            {"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate}
        ),
        "precision_recall": pd.DataFrame({"recall": recall, "precision": precision}),
    }
    return {name: thinned(table) for name, table in tables.items()}


def thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Return at most CURVE_POINTS evenly spaced rows, including both ends, rounded to four digits."""
    rows = np.unique(np.linspace(0, len(table) - 1, min(CURVE_POINTS, len(table))).round().astype(int))
    return table.iloc[rows].round(4)
