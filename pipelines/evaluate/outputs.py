"""The outputs of `evaluate`: files for DVC, and artifacts and metrics for the MLflow run."""

from collections.abc import Mapping
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipelines.core.mlflow_store import logged_model
from pipelines.evaluate import plots
from pipelines.evaluate.findings import Findings
from pipelines.evaluate.model_card import card
from pipelines.evaluate.report import page

OUT = Path("results/evaluate")


def write(found: Findings, figures: dict[str, Figure]) -> None:
    """Write the report, the model card, and tables for `dvc plots`."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "report.html").write_text(page(found, figures), encoding="utf-8")
    (OUT / "model_card.md").write_text(card(found), encoding="utf-8")
    predictions = pd.DataFrame(
        {
            "review_id": found.reviews["review_id"],
            "movie_id": found.reviews["movie_id"],
            "actual": np.where(found.labels, "positive", "negative"),
            "predicted": np.where(found.positive >= 0.5, "positive", "negative"),
            "probability": found.positive.round(6),
        }
    )
    sliced = found.slices.assign(slice=found.slices["slice"] + ": " + found.slices["value"])
    tables = {
        "predictions": predictions,
        "confusion": predictions[["actual", "predicted"]],
        "slices": sliced,
        **plots.curves(found.labels, found.positive),
    }
    for name, rows in tables.items():
        rows.to_csv(OUT / f"{name}.csv", index=False, lineterminator="\n")


def log(client: mlflow.MlflowClient, found: Findings, figures: Mapping[str, Figure]) -> None:
    """Log the outputs to the open run, and the metrics to its logged model as well.

    Metrics that depend on the machine or the current champion are logged here but not in metrics.json, which
    depends only on data, params and code.
    """
    variable = {"texts_per_second": found.speed.texts_per_second}
    if found.comparison:
        variable |= found.comparison.metrics
    model_id = logged_model(client, found.trained.run_id).model_id
    mlflow.log_metrics({**found.metrics, **variable}, model_id=model_id)
    mlflow.set_tag("behaviour", found.behaviour)
    # Promotion uses champion_difference only if this version is still the champion.
    mlflow.set_tag("champion_version", found.comparison.version if found.comparison else "none")
    for name, figure in figures.items():
        mlflow.log_figure(figure, f"plots/{name}.png")
    mlflow.log_artifact(str(OUT / "report.html"), "report")
    mlflow.log_artifact(str(OUT / "model_card.md"))
    mlflow.log_artifact(str(OUT / "predictions.csv"))
