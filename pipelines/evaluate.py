"""Stage `evaluate`: scores the served form on the validation reviews, for DVC and for the MLflow run."""

import json
from collections.abc import Mapping
from pathlib import Path

import evaluate
import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    precision_recall_curve,
    roc_curve,
)

from pipelines import metrics as metrics_module
from pipelines.errors import PipelineError, run_stage
from pipelines.params import load_params
from pipelines.serving import probabilities
from pipelines.tracking import connect, logged_model, resume

VALIDATION = Path("results/prepare/validation.csv")
SERVED = Path("results/export/serving")
REFERENCE = Path("results/export/reference")
RUN = Path("results/train/run.json")
OUT = Path("results/evaluate")

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


def score(labels: Labels, positive: Probabilities) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of calling a review positive from probability 0.5 up."""
    metric = evaluate.load(str(metrics_module.__file__))
    figures: dict[str, float] = metric.compute(
        predictions=(positive >= 0.5).astype(int), references=labels.astype(int)
    )
    return figures


def compare(labels: Labels, served: Probabilities, reference: Probabilities) -> dict[str, float]:
    """What the served form lost against the trained one: shares of the reviews, and probabilities."""
    right, were_right = (served >= 0.5) == labels, (reference >= 0.5) == labels
    return {
        "reference_accuracy": float(were_right.mean()),
        "accuracy_loss": float(were_right.mean() - right.mean()),
        "agreement": float((right == were_right).mean()),
        "max_probability_difference": float(np.abs(served - reference).max()),
    }


def refuse_loss(metrics: Mapping[str, float], limit: float) -> None:
    """Raise PipelineError when the served form is less accurate than the trained one by over `limit`."""
    if metrics["accuracy_loss"] > limit:
        raise PipelineError(
            f"the served form has accuracy {metrics['accuracy']:.4f}, the trained one "
            f"{metrics['reference_accuracy']:.4f}: a loss of {metrics['accuracy_loss']:.4f}, and "
            f"export.max_accuracy_loss is {limit}. Set export.precision to fp32, calibrate on more reviews "
            "(export.calibration_reviews), or allow the loss."
        )


def figures(labels: Labels, positive: Probabilities) -> dict[str, Figure]:
    """What one looks at first: what is taken for what, and the trade-offs at other thresholds."""
    predicted = (positive >= 0.5).astype(int)
    drawn = {}
    for name, display, values in (
        ("confusion_matrix", ConfusionMatrixDisplay.from_predictions, predicted),
        ("roc", RocCurveDisplay.from_predictions, positive),
        ("precision_recall", PrecisionRecallDisplay.from_predictions, positive),
    ):
        figure = Figure(figsize=(5, 5), layout="constrained")
        display(labels, values, ax=figure.subplots())
        drawn[name] = figure
    return drawn


def write_plots(table: pd.DataFrame, labels: Labels, positive: Probabilities) -> None:
    """The same three as tables for `dvc plots`: predictions.csv, roc.csv, precision_recall.csv."""
    table.to_csv(OUT / "predictions.csv", index=False, lineterminator="\n")
    false_positive, true_positive, _ = roc_curve(labels, positive)
    pd.DataFrame({"false_positive_rate": false_positive, "true_positive_rate": true_positive}).to_csv(
        OUT / "roc.csv", index=False, lineterminator="\n"
    )
    precision, recall, _ = precision_recall_curve(labels, positive)
    pd.DataFrame({"recall": recall, "precision": precision}).to_csv(
        OUT / "precision_recall.csv", index=False, lineterminator="\n"
    )


def log(run_id: str, metrics: Mapping[str, float], drawn: Mapping[str, Figure], max_loss: float) -> None:
    """Add figures and plots to the run, and the metrics to the model that it logged as well.

    Raises PipelineError when the loss is too high; the run then counts as failed, and is not registered.
    """
    client = connect()
    with resume(run_id):
        mlflow.log_metrics(dict(metrics), model_id=logged_model(client, run_id).model_id)
        for name, figure in drawn.items():
            mlflow.log_figure(figure, f"plots/{name}.png")
        refuse_loss(metrics, max_loss)


def main() -> None:
    validation = pd.read_csv(VALIDATION, keep_default_na=False)
    labels = validation["label"].to_numpy()
    texts = validation["text"].tolist()
    positive = probabilities(SERVED, texts)
    metrics = score(labels, positive) | compare(labels, positive, probabilities(REFERENCE, texts))
    table = pd.DataFrame(
        {
            "review_id": validation["review_id"],
            "actual": np.where(labels, "positive", "negative"),
            "predicted": np.where(positive >= 0.5, "positive", "negative"),
            "probability": positive.round(6),
        }
    )
    OUT.mkdir(parents=True, exist_ok=True)
    write_plots(table, labels, positive)
    run_id = json.loads(RUN.read_text())["run_id"]
    log(run_id, metrics, figures(labels, positive), load_params().export.max_accuracy_loss)
    (OUT / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    run_stage(main)
