"""The outputs of `evaluate`: files for DVC, and artifacts and metrics for the MLflow run."""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import LoggedModel, Metric

from pipelines.core.mlflow_store import BEHAVIOUR, CHAMPION_VERSION, REFUSED
from pipelines.evaluate import plots
from pipelines.evaluate.findings import Findings
from pipelines.evaluate.model_card import card
from pipelines.evaluate.report import page

OUT = Path("results/evaluate")
DATA_REPORT = Path("results/prepare/data_report.html")


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


def log(
    client: mlflow.MlflowClient,
    model: LoggedModel,
    found: Findings,
    figures: Mapping[str, Figure],
    refused: str,
) -> None:
    """Log the outputs to the open run; metrics and verdicts also to the model, by which `register` ranks.

    `refused` is why the model must not be registered, or "". Metrics that depend on the machine or the
    current champion are logged here but not in metrics.json, which depends only on data, params and code.
    """
    variable = {"texts_per_second": found.speed.texts_per_second}
    if found.comparison:
        variable |= found.comparison.metrics
    metrics = {**found.metrics, **variable}
    measured = {name: value for name, value in metrics.items() if math.isfinite(value)}
    mlflow.log_metrics(measured, model_id=model.model_id)
    # On a model, MLflow 3.17 stores NaN as 0, which would be the best log loss. They are on the run only.
    undefined = {name: value for name, value in metrics.items() if name not in measured}
    now = int(time.time() * 1000)
    client.log_batch(found.trained.run_id, [Metric(*one, now, 0) for one in undefined.items()])
    # Promotion uses champion_difference only if this version is still the champion.
    compared = found.comparison.version if found.comparison else "none"
    verdicts = {BEHAVIOUR: found.behaviour, REFUSED: refused, CHAMPION_VERSION: compared}
    mlflow.set_tags(verdicts)
    client.set_logged_model_tags(model.model_id, verdicts)
    for name, figure in figures.items():
        mlflow.log_figure(figure, f"plots/{name}.png")
    mlflow.log_artifact(str(OUT / "report.html"), "report")
    mlflow.log_artifact(str(DATA_REPORT), "report")
    mlflow.log_artifact(str(OUT / "model_card.md"))
    mlflow.log_artifact(str(OUT / "predictions.csv"))
