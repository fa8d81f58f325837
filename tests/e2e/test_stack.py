"""Client -> API -> Bento -> model, and -> PostgreSQL, with real processes and a trained model."""

import httpx
import numpy as np
import pandas as pd
import pytest

from pipelines.served_form.classifier import probabilities
from tests.deploy.stack import Stack, wait_for
from tests.project import Project

REVIEW = {
    "movie_id": "reviewed-in-test-stack",
    "author": "Ada",
    "text": "Warm, funny and brave.",
    "rating": 9,
}


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


def test_the_worker_stores_the_result_of_analyze(client: httpx.Client) -> None:
    review = client.post("/api/reviews", json=REVIEW)
    answer = client.post("/api/analyze", json={"text": REVIEW["text"]}).json()
    wait_for(lambda: client.get(review.headers["Location"]).json()["sentiment"] is not None)
    sentiment = client.get(review.headers["Location"]).json()["sentiment"]
    assert sentiment == {name: answer[name] for name in ("label", "score", "model_version")}
    assert client.delete(f"/api/reviews/{review.json()['id']}").status_code == 204


def test_errors_are_problem_details(client: httpx.Client) -> None:
    missing = client.delete("/api/reviews/018f0000-0000-7000-8000-000000000000")
    invalid = client.post("/api/reviews", json=REVIEW | {"rating": 11})
    for response, status in ((missing, 404), (invalid, 422)):
        assert response.status_code == status
        assert response.headers["Content-Type"] == "application/problem+json"
    assert invalid.json()["errors"][0]["field"] == "rating"


def test_served_results_match_the_pipeline(served: Project, client: httpx.Client) -> None:
    """The Bento and the pipeline give a text the same probability."""
    validation = pd.read_csv(served.folder / "results/prepare/validation.csv")
    texts = validation["text"].tolist()[:64]
    answers = client.post("/api/analyze/batch", json={"texts": texts}).json()["results"]
    positive = [a["score"] if a["label"] == "positive" else 1 - a["score"] for a in answers]
    np.testing.assert_allclose(
        positive, probabilities(served.folder / "results/export/serving", texts), atol=1e-3
    )
    assert {answer["model_version"] for answer in answers} == {"1"}
    one = client.post("/api/analyze", json={"text": texts[0]}).json()
    # The int8 kernel may depend on the batch size; with VNNI the difference is 0.
    assert one["score"] == pytest.approx(answers[0]["score"], abs=0.03)


def test_mlflow_serves_the_registry(stack: Stack) -> None:
    path = "/api/2.0/mlflow/registered-models/alias?name=sentiment&alias=champion"
    answer = httpx.get(stack.url("MLFLOW_PORT", path), trust_env=False, timeout=30)
    assert answer.json()["model_version"]["version"] == "1"


def test_mlflow_rejects_other_host_names(stack: Stack) -> None:
    url = stack.url("MLFLOW_PORT", "/api/2.0/mlflow/experiments/get?experiment_id=0")
    assert httpx.get(url, trust_env=False, timeout=60).status_code == 200
    assert httpx.get(url, trust_env=False, timeout=60, headers={"Host": "evil.example"}).status_code == 403


def test_up_leaves_every_running_process_alone(stack: Stack) -> None:
    stack.run("up")
    before = stack.long_lived_pids()
    stack.run("up")
    assert stack.long_lived_pids() == before
