import numpy as np
import pandas as pd
import pytest

from pipelines.evaluate.behaviour import Answered, Verdict
from pipelines.evaluate.behaviour_cases import Case
from pipelines.evaluate.champion import Comparison
from pipelines.evaluate.findings import Findings, TrainedRun
from pipelines.evaluate.label_errors import likely_label_errors, worst_errors
from pipelines.evaluate.measurement import measure
from pipelines.evaluate.model_card import card
from pipelines.evaluate.report import drawn, page
from pipelines.evaluate.slices import slices
from pipelines.evaluate.throughput import Speed
from pipelines.statistics.intervals import Interval

SCRIPT = "<script>alert(1)</script> it's not for me"


@pytest.fixture(scope="module")
def found() -> Findings:
    """Findings about a model that classifies a negative review, which contains a script, as positive."""
    labels = np.tile([0, 1], 30)
    reviews = pd.DataFrame({"review_id": [f"r{n}" for n in range(60)], "movie_id": "heat", "label": labels})
    reviews["text"] = [SCRIPT, *(f"Review {'very ' * n}long." for n in range(59))]
    reviews["known_share"] = [0.2, 0.4, *[1.0] * 58]
    positive = np.where(labels == 1, 0.9, 0.2)
    positive[0] = 0.99
    table, missing = slices(reviews, (positive >= 0.5) == labels)
    doubted, doubts = likely_label_errors(reviews, positive)
    measured = measure(reviews, positive, seed=1)
    part = {"reviews": 60, "movies": 1, "positive_share": 0.5, "movies_in_train": 0}
    prepared = {"reviews": 270, "dropped": 0, "positive_share": 0.5, "data_md5": "d41d8"}
    prepared["parts"] = dict.fromkeys(("train", "calibration", "validation", "test"), part)
    params = {
        "train.base": "minilm",
        "train.max_tokens": "64",
        "export.windows": "4",
        "export.precision": "int8",
    }
    failing = Answered(Case("It is good.", "It is <b>not</b> good.", "lower"), 0.9, 0.95)
    return Findings(
        trained=TrainedRun(
            run_id="0123456789abcdef",
            params=params,
            tags={"git_sha": "abc"},
            prepared=prepared,
            history=pd.DataFrame({"step": [1, 2], "loss": [0.7, None], "validation_loss": [None, 0.6]}),
        ),
        reviews=reviews,
        positive=positive,
        before=positive,
        temperature=1.2,
        metrics=measured.metrics()
        | {"accuracy_loss": 0.0, "reference_accuracy": 0.98, "agreement": 1.0, "model_mib": 25.0}
        | {
            "accuracy_without_vnni": 0.9712,
            "accuracy_loss_without_vnni": 0.0088,
            "agreement_without_vnni": 0.987,
        }
        | {"little_known": 2 / 60},
        validation=measured,
        test=measured,
        comparison=Comparison("3", Interval(0.01, -0.01, 0.03), 0.4, 3, 2, "It may know some."),
        against="not significantly different from the champion",
        slices=table,
        missing_slices=missing,
        verdicts=[Verdict("negation", "what is not good is less positive", [failing], 0.8)],
        errors=worst_errors(reviews, positive),
        doubted=doubted,
        doubts=doubts,
        speed=Speed(100, 2, "a processor"),
    )


def test_reviews_are_escaped_in_the_report(found: Findings) -> None:
    html = page(found, drawn(found))
    assert html.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in html
    assert "It is &lt;b&gt;not&lt;/b&gt; good." in html


def test_the_report_has_failed_tests_caveats_and_missing_slices(found: Findings) -> None:
    html = page(found, drawn(found))
    assert "behavioural tests failed, so it will not be registered" in html
    assert "It may know some." in html
    assert "Left out: rating" in html
    assert "occur in the training reviews: 2 (3.33%), accuracy 0.50" in html


def test_the_model_card_has_metrics_failed_tests_and_missing_slices(found: Findings) -> None:
    text = card(found)
    assert "| negation | 0.000 | 0.8 |" in text
    assert "not significantly different from the champion. It may know some." in text
    assert "| accuracy | 0.9833 |" in text
    assert "Not evaluated: rating" in text
