"""The evaluation of one model: everything that the report, the model card and MLflow show."""

import json
from pathlib import Path

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.entities import Run

from pipelines.core.params import Params
from pipelines.evaluate import behaviour, champion, label_errors, throughput
from pipelines.evaluate.accuracy_loss import compare
from pipelines.evaluate.champion import Comparison
from pipelines.evaluate.findings import Findings, TrainedRun
from pipelines.evaluate.slices import slices
from pipelines.served_form.classifier import Classifier, probabilities
from pipelines.statistics.calibration import mean_softmax
from pipelines.statistics.intervals import Interval, bootstrap
from pipelines.statistics.scores import score, score_draws

PREPARED = Path("results/prepare")
TRAINED = Path("results/train")
SERVED = Path("results/export/serving")
REFERENCE = Path("results/export/reference")

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


def intervals(labels: Labels, positive: Probabilities, seed: int) -> dict[str, Interval]:
    """Return the metrics of `score` with their confidence intervals."""
    metrics = score(labels, positive)
    ends = bootstrap(lambda counts: score_draws(labels, positive, counts), len(labels), seed)
    return {name: Interval(value, *ends[name]) for name, value in metrics.items()}


def compare_with_champion(
    client: mlflow.MlflowClient, run: Run, reviews: pd.DataFrame, positive: Probabilities, seed: int
) -> tuple[Comparison | None, str]:
    """Return the comparison with the current champion, or None, and its result or the reason in words."""
    version = champion.current(client)
    if version is None:
        return None, "there is no champion to compare with yet"
    answers = champion.answers(version, reviews["text"].tolist())
    if isinstance(answers, str):
        return None, f"the champion, version {version.version}, was not compared: {answers}"
    labels = reviews["label"].to_numpy()
    found = champion.compare(labels, positive, answers, version, run.data.tags, seed)
    return found, champion.in_words(found)


def trained_run(run: Run) -> TrainedRun:
    return TrainedRun(
        run.info.run_id,
        run.data.params,
        run.data.tags,
        json.loads((PREPARED / "summary.json").read_text()),
        pd.read_csv(TRAINED / "history.csv"),
    )


def examine(client: mlflow.MlflowClient, run: Run, params: Params) -> Findings:
    """Evaluate the run's model on the validation reviews."""
    reviews = pd.read_csv(PREPARED / "validation.csv", keep_default_na=False, dtype={"review_id": str})
    labels, texts = reviews["label"].to_numpy(), reviews["text"].tolist()
    served = Classifier(SERVED)
    logits = served.logits(texts)
    positive = mean_softmax(logits)[:, served.positive]
    measured = intervals(labels, positive, params.seed)
    verdicts = behaviour.judge(served.probabilities, texts, params.evaluate.behaviour, params.seed)
    table, missing = slices(reviews, (positive >= 0.5) == labels)
    doubted, doubts = label_errors.likely_label_errors(reviews, positive)
    comparison, words = compare_with_champion(client, run, reviews, positive, params.seed)
    return Findings(
        trained=trained_run(run),
        reviews=reviews,
        positive=positive,
        # The logits include the temperature; its inverse restores the uncalibrated ones.
        before=mean_softmax(logits, 1 / served.temperature)[:, served.positive],
        temperature=served.temperature,
        metrics={
            **{name: interval.value for name, interval in measured.items()},
            "accuracy_low": measured["accuracy"].low,
            "accuracy_high": measured["accuracy"].high,
            **compare(labels, positive, probabilities(REFERENCE, texts)),
            **{f"behaviour_{verdict.name}": verdict.share for verdict in verdicts},
            "model_mib": served.mib,
        },
        intervals=measured,
        comparison=comparison,
        against=words,
        slices=table,
        missing_slices=missing,
        verdicts=verdicts,
        errors=label_errors.worst_errors(reviews, positive),
        doubted=doubted,
        doubts=doubts,
        speed=throughput.measure(served, texts),
    )
