"""Stage `evaluate`: examines the served form on the validation reviews, for DVC and for the MLflow run."""

import json
from collections.abc import Mapping
from pathlib import Path

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Run

from pipelines import behaviour, champion, plots, speed, suspects
from pipelines.calibration import mean_softmax
from pipelines.champion import Comparison
from pipelines.errors import PipelineError, run_stage
from pipelines.findings import Findings, Origin
from pipelines.intervals import Interval, bootstrap
from pipelines.model_card import card
from pipelines.params import Params, load_params
from pipelines.report import drawn, page
from pipelines.scores import score, score_draws
from pipelines.serving import Classifier, probabilities
from pipelines.slices import slices
from pipelines.tracking import connect, logged_model, resume

PREPARED = Path("results/prepare")
TRAINED = Path("results/train")
SERVED = Path("results/export/serving")
REFERENCE = Path("results/export/reference")
OUT = Path("results/evaluate")

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


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


def intervals(labels: Labels, positive: Probabilities, seed: int) -> dict[str, Interval]:
    """Every figure of `score`, with its interval."""
    figures = score(labels, positive)
    ends = bootstrap(lambda counts: score_draws(labels, positive, counts), len(labels), seed)
    return {name: Interval(value, *ends[name]) for name, value in figures.items()}


def against(
    client: mlflow.MlflowClient, run: Run, reviews: pd.DataFrame, positive: Probabilities, seed: int
) -> tuple[Comparison | None, str]:
    """The comparison with the champion of now, and what it says; none when it cannot be made."""
    version = champion.current(client)
    if version is None:
        return None, "no model is champion yet, so there is none to compare with"
    answers = champion.answers(version, reviews["text"].tolist())
    if isinstance(answers, str):
        return None, f"the champion, version {version.version}, is left out: {answers}"
    labels = reviews["label"].to_numpy()
    found = champion.compare(labels, positive, answers, version, run.data.tags, seed)
    return found, champion.in_words(found)


def origin(run: Run) -> Origin:
    return Origin(
        run.info.run_id,
        run.data.params,
        run.data.tags,
        json.loads((PREPARED / "summary.json").read_text()),
        pd.read_csv(TRAINED / "history.csv"),
    )


def examine(client: mlflow.MlflowClient, run: Run, params: Params) -> Findings:
    """Everything that can be found out about the run's model."""
    reviews = pd.read_csv(PREPARED / "validation.csv", keep_default_na=False, dtype={"review_id": str})
    labels, texts = reviews["label"].to_numpy(), reviews["text"].tolist()
    served = Classifier(SERVED)
    logits = served.logits(texts)
    positive = mean_softmax(logits)[:, served.positive]
    figures = intervals(labels, positive, params.seed)
    verdicts = behaviour.judge(served.probabilities, texts, params.evaluate.behaviour, params.seed)
    table, missing = slices(reviews, (positive >= 0.5) == labels)
    doubted, doubts = suspects.likely_label_errors(reviews, positive)
    comparison, words = against(client, run, reviews, positive, params.seed)
    return Findings(
        origin=origin(run),
        reviews=reviews,
        positive=positive,
        # The temperature is in the logits already; taken out, they are what the training gave.
        before=mean_softmax(logits, 1 / served.temperature)[:, served.positive],
        temperature=served.temperature,
        metrics={
            **{name: figure.value for name, figure in figures.items()},
            "accuracy_low": figures["accuracy"].low,
            "accuracy_high": figures["accuracy"].high,
            **compare(labels, positive, probabilities(REFERENCE, texts)),
            **{f"behaviour_{one.name}": one.share for one in verdicts},
            "model_mib": served.mib,
        },
        intervals=figures,
        comparison=comparison,
        against=words,
        slices=table,
        missing_slices=missing,
        verdicts=verdicts,
        errors=suspects.worst_errors(reviews, positive),
        doubted=doubted,
        doubts=doubts,
        speed=speed.measure(served, texts),
    )


def write(found: Findings, figures: dict[str, Figure]) -> None:
    """The report, the model card, and tables for `dvc plots`; metrics.json comes when all is well."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "report.html").write_text(page(found, figures), encoding="utf-8")
    (OUT / "model_card.md").write_text(card(found), encoding="utf-8")
    predictions = pd.DataFrame(
        {
            "review_id": found.reviews["review_id"],
            "actual": np.where(found.labels, "positive", "negative"),
            "predicted": np.where(found.positive >= 0.5, "positive", "negative"),
            "probability": found.positive.round(6),
        }
    )
    sliced = found.slices.assign(slice=found.slices["slice"] + ": " + found.slices["value"])
    tables = {"predictions": predictions, "slices": sliced, **plots.curves(found.labels, found.positive)}
    for name, rows in tables.items():
        rows.to_csv(OUT / f"{name}.csv", index=False, lineterminator="\n")


def log(client: mlflow.MlflowClient, found: Findings, figures: Mapping[str, Figure]) -> None:
    """Add all of it to the open run, and the figures to the model that the run logged as well.

    What depends on the machine and on who is champion is in the run alone: metrics.json is the same for the
    same data, params and code.
    """
    of_now = {"texts_per_second": found.speed.texts_per_second}
    if found.comparison:
        of_now |= found.comparison.metrics
    model_id = logged_model(client, found.origin.run_id).model_id
    mlflow.log_metrics({**found.metrics, **of_now}, model_id=model_id)
    mlflow.set_tag("behaviour", found.behaviour)
    # Promotion takes the difference for one to the champion of its day only if that is who it was told from.
    mlflow.set_tag("champion_version", found.comparison.version if found.comparison else "none")
    for name, figure in figures.items():
        mlflow.log_figure(figure, f"plots/{name}.png")
    mlflow.log_artifact(str(OUT / "report.html"), "report")
    mlflow.log_artifact(str(OUT / "model_card.md"))
    mlflow.log_artifact(str(OUT / "predictions.csv"))


def main() -> None:
    params = load_params()
    client = connect()
    with resume(json.loads((TRAINED / "run.json").read_text())["run_id"]) as run:
        found = examine(client, run, params)
        figures = drawn(found)
        write(found, figures)
        log(client, found, figures)
        # The run then counts as failed, and is not registered.
        refuse_loss(found.metrics, params.export.max_accuracy_loss)
    (OUT / "metrics.json").write_text(json.dumps(found.metrics, indent=2) + "\n")
    print(found.headline)


if __name__ == "__main__":
    run_stage(main)
