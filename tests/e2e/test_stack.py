"""Client -> API -> Bento -> model, and -> PostgreSQL: real processes, a really trained model."""

from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from pipelines.served_form.classifier import probabilities
from tests.deploy.stack import Stack, wait_for
from tests.project import Project

REVIEW = {"movie_id": "this-files-own", "author": "Ada", "text": "Warm, funny and brave.", "rating": 9}


def test_a_review_is_created_listed_replaced_and_deleted(client: httpx.Client) -> None:
    created = client.post("/api/reviews", json=REVIEW)
    assert created.status_code == 201
    review = created.json()
    assert REVIEW.items() <= review.items()
    (listed,) = client.get(f"/api/reviews/{REVIEW['movie_id']}").json()["items"]
    assert listed | {"sentiment": None} == review
    path = f"/api/reviews/{review['id']}"
    edit = {"author": "Ada", "text": "Dull at second sight.", "rating": 3}
    replaced = client.put(path, json=edit, headers={"If-Match": created.headers["ETag"]})
    assert replaced.status_code == 200
    found = client.get(created.headers["Location"]).json()
    assert found | {"sentiment": None} == review | edit | {"updated_at": replaced.json()["updated_at"]}
    assert client.delete(path).status_code == 204
    assert client.get(f"/api/reviews/{REVIEW['movie_id']}").json()["items"] == []


def test_the_worker_finds_what_analyzing_says(client: httpx.Client) -> None:
    review = client.post("/api/reviews", json=REVIEW)
    said = client.post("/api/analyze", json={"text": REVIEW["text"]}).json()
    wait_for(lambda: client.get(review.headers["Location"]).json()["sentiment"] is not None, seconds=20)
    sentiment = client.get(review.headers["Location"]).json()["sentiment"]
    assert sentiment == {name: said[name] for name in ("label", "score", "model_version")}
    assert client.delete(f"/api/reviews/{review.json()['id']}").status_code == 204


def test_what_is_not_there_or_not_valid_is_a_problem(client: httpx.Client) -> None:
    missing = client.delete("/api/reviews/018f0000-0000-7000-8000-000000000000")
    invalid = client.post("/api/reviews", json=REVIEW | {"rating": 11})
    for answer, status in ((missing, 404), (invalid, 422)):
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert invalid.json()["errors"][0]["field"] == "rating"


def test_the_served_answers_are_those_that_were_evaluated(trained: Project, client: httpx.Client) -> None:
    """Batched by the Bento or scored by the pipeline, a text gets the same probability."""
    validation = pd.read_csv(trained.folder / "results/prepare/validation.csv")
    texts = validation["text"].tolist()[:64]
    answers = client.post("/api/analyze/batch", json={"texts": texts}).json()["results"]
    positive = [a["score"] if a["label"] == "positive" else 1 - a["score"] for a in answers]
    np.testing.assert_allclose(
        positive, probabilities(trained.folder / "results/export/serving", texts), atol=1e-3
    )
    assert {answer["model_version"] for answer in answers} == {"1"}
    one = client.post("/api/analyze", json={"text": texts[0]}).json()
    # A processor may compute one row with another int8 kernel than eight; where it has VNNI, this is 0.
    assert one["score"] == pytest.approx(answers[0]["score"], abs=0.03)


def test_without_the_bento_analysing_is_503_and_reviews_go_on(stack: Stack, client: httpx.Client) -> None:
    stack.supervisor.stop("bento")
    refused = client.post("/api/analyze", json={"text": "Fine."})
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    created = client.post("/api/reviews", json=REVIEW)
    assert created.status_code == 201
    assert client.delete(f"/api/reviews/{created.json()['id']}").status_code == 204
    stack.run("up")
    assert client.post("/api/analyze", json={"text": "Fine."}).status_code == 200


def test_mlflow_shows_the_champion(stack: Stack, trained: Project) -> None:
    path = "/api/2.0/mlflow/registered-models/alias?name=sentiment&alias=champion"
    answer = httpx.get(stack.url("MLFLOW_PORT", path), trust_env=False, timeout=30)
    assert answer.json()["model_version"]["version"] == "1"


def test_a_second_up_leaves_every_process_alone(stack: Stack) -> None:
    stack.run("up")
    before = stack.lasting()
    stack.run("up")
    assert stack.lasting() == before


def test_down_leaves_no_process_and_up_serves_the_same_reviews(stack: Stack, client: httpx.Client) -> None:
    created = client.post("/api/reviews", json=REVIEW).json()
    stack.run("down")
    assert stack.processes() == []
    stack.run("up")
    (review,) = client.get(f"/api/reviews/{REVIEW['movie_id']}").json()["items"]
    assert review | {"sentiment": None} == created
    assert Path(stack.var / "log" / "api.log").stat().st_size > 0
