"""The evaluation of one model: everything that the report, the model card and MLflow show."""

import json
from pathlib import Path

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.entities import LoggedModel, Run

from pipelines.core.params import Params
from pipelines.evaluate import behaviour, champion, label_errors, throughput, without_vnni
from pipelines.evaluate.accuracy_loss import compare, compare_without_vnni
from pipelines.evaluate.champion import Comparison
from pipelines.evaluate.findings import Findings, TrainedRun
from pipelines.evaluate.measurement import measure
from pipelines.evaluate.slices import slices
from pipelines.served_form.classifier import Classifier, probabilities
from pipelines.served_form.known_words import LITTLE, known_shares
from pipelines.statistics.calibration import mean_softmax

PREPARED = Path("results/prepare")
TRAINED = Path("results/train")
SERVED = Path("results/export/serving")
REFERENCE = Path("results/export/reference")
MODEL = Path("results/export/model.json")

Probabilities = npt.NDArray[np.float64]


def read(part: str) -> pd.DataFrame:
    return pd.read_csv(
        PREPARED / f"{part}.csv", keep_default_na=False, dtype={"review_id": str, "movie_id": str}
    )


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
    found = champion.compare(reviews, positive, answers, version, run.data.tags, seed)
    return found, champion.in_words(found)


def trained_run(run: Run, model: LoggedModel) -> TrainedRun:
    """Return the run, with the params and tags of its model, which may be a later export."""
    return TrainedRun(
        run.info.run_id,
        run.data.params | (model.params or {}),
        run.data.tags | (model.tags or {}),
        json.loads((PREPARED / "summary.json").read_text()),
        pd.read_csv(TRAINED / "history.csv"),
    )


def examine(client: mlflow.MlflowClient, run: Run, model: LoggedModel, params: Params) -> Findings:
    """Evaluate the run's model on the validation reviews and, for the record only, on the test reviews."""
    reviews, test = read("validation"), read("test")
    labels, texts = reviews["label"].to_numpy(), reviews["text"].tolist()
    reviews["known_share"] = known_shares(SERVED, texts)
    served = Classifier(SERVED)
    logits = served.logits(texts)
    positive = mean_softmax(logits)[:, served.positive]
    reference = probabilities(REFERENCE, texts)
    limited = positive
    if params.export.precision == "int8" and without_vnni.has_vnni():
        limited = without_vnni.probabilities(SERVED, texts)
    validation = measure(reviews, positive, params.prepare.seed)
    unseen = measure(test, served.probabilities(test["text"].tolist()), params.prepare.seed)
    verdicts = behaviour.judge(served.probabilities, texts, params.evaluate.behaviour, params.prepare.seed)
    table, missing = slices(reviews, (positive >= 0.5) == labels)
    doubted, doubts = label_errors.likely_label_errors(reviews, positive)
    comparison, words = compare_with_champion(client, run, reviews, positive, params.prepare.seed)
    return Findings(
        trained=trained_run(run, model),
        reviews=reviews,
        positive=positive,
        # The logits include the temperature; its inverse restores the uncalibrated ones.
        before=mean_softmax(logits, 1 / served.temperature)[:, served.positive],
        temperature=served.temperature,
        metrics={
            **validation.metrics(),
            **unseen.metrics("test_"),
            **compare(labels, positive, reference),
            **compare_without_vnni(labels, limited, reference),
            **{f"behaviour_{verdict.name}": verdict.share for verdict in verdicts},
            "little_known": float((reviews["known_share"] < LITTLE).mean()),
            "model_mib": served.mib,
        },
        validation=validation,
        test=unseen,
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
