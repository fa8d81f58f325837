"""docs/how-to/operations.md, each block run as written after that very thing was broken."""

import re
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from bentos.sentiment.registry import MODEL
from deploy.local.processes import ours
from tests.deploy.stack import Stack, wait_for
from tests.e2e.conftest import connect
from tests.e2e.runbook import PAGE, blocks, run
from tests.project import Project

REVIEW = {"movie_id": "at-three-in-the-morning", "author": "Ada", "text": "Warm, funny and brave."}


def hang(stack: Stack, service: str) -> None:
    """Stop its processes as a debugger would: they neither answer nor end."""
    for process in ours(stack.var, service):
        process.suspend()


def answers(stack: Stack) -> bool:
    with connect(stack) as client:
        asked = client.post("/api/analyze", json={"text": "Fine."}), client.get("/api/movies")
    return [answer.status_code for answer in asked] == [200, 200]


def served(stack: Stack) -> str:
    with connect(stack) as client:
        version: str = client.post("/api/analyze", json={"text": "Fine."}).json().get("model_version", "")
    return version


@pytest.fixture
def challenger(trained: Project) -> Iterator[str]:
    """Another version of the same model, which is as good."""
    mlflow.set_tracking_uri(trained.tracking_uri)  # a version's source is looked up where this leads
    client = MlflowClient()
    first = client.get_model_version_by_alias(MODEL, "champion")
    made = client.create_model_version(
        MODEL, first.source or "", run_id=first.run_id, tags=first.tags, model_id=first.model_id
    )
    before = client.get_model_version_by_alias(MODEL, "challenger").version
    client.set_registered_model_alias(MODEL, "challenger", made.version)
    yield str(made.version)
    client.set_registered_model_alias(MODEL, "champion", first.version)  # whatever the test came to
    client.set_registered_model_alias(MODEL, "challenger", before)
    client.delete_model_version(MODEL, made.version)
    mlflow.set_tracking_uri("")


def test_every_link_leads_somewhere() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= anchors


def test_every_section_with_commands_is_tried() -> None:
    tests = Path(__file__).parent.glob("test_*.py")
    tried = "".join(path.read_text(encoding="utf-8") for path in tests)
    with_commands = [part.partition("\n")[0] for part in PAGE.split("\n## ")[1:] if "```sh" in part]
    assert len(with_commands) == 11
    assert all(f'"{heading}"' in tried for heading in with_commands)


def test_begin(stack: Stack) -> None:
    said = run(stack, blocks("Operations")[0].partition("\n")[2].partition("\n")[2])
    assert "healthy" in said
    assert '"bento":"ok"' in said


def test_promote_and_roll_back(stack: Stack, challenger: str) -> None:
    before = served(stack)
    promote, rescore = blocks("Promote")
    # The limits of a test of 300 reviews, and of a machine that has other things to do.
    limits = {"SENTIMENT_PROMOTE_MAX_ACCURACY_LOSS": "0.05", "SENTIMENT_PROMOTE_MAX_LATENCY_RATIO": "100"}
    promote = promote.replace("why, in a sentence", "reason-of-the-test: why, in a sentence")
    run(stack, promote, **limits)
    wait_for(lambda: served(stack) == challenger, seconds=180)
    assert f"due for version {challenger}" in run(stack, rescore)
    said = run(stack, *blocks("Roll back"))
    assert "reason-of-the-test" in said
    wait_for(lambda: served(stack) == before, seconds=180)


@pytest.mark.parametrize(
    ("service", "heading"),
    [
        ("bento", "The model service is down"),
        ("postgres", "The database is down"),
        ("mlflow", "MLflow is down"),
    ],
)
def test_a_service_that_was_down_is_up(stack: Stack, service: str, heading: str) -> None:
    stack.supervisor.stop(service)
    said = run(stack, *blocks(heading))
    assert re.search(rf"^{service} +(stopped|exited)", said, re.MULTILINE)
    wait_for(lambda: answers(stack), seconds=30)
    assert "down" not in run(stack, "python -m deploy.local status")


def test_late_sentiments(stack: Stack) -> None:
    with connect(stack) as client:
        hang(stack, "worker")
        location = client.post("/api/reviews", json=REVIEW).raise_for_status().headers["Location"]
        said = run(stack, *blocks("Sentiments are late"))
        assert re.search(r"^ +[1-9]\d* \| 00:00:", said, re.MULTILINE), "how many, and since when"
        wait_for(lambda: client.get(location).json()["sentiment"] is not None, seconds=60)


@pytest.mark.parametrize("heading", ["Too many errors", "Slow answers"])
def test_where_to_look(stack: Stack, heading: str) -> None:
    run(stack, *blocks(heading))
    wait_for(lambda: answers(stack), seconds=30)


def test_disk_full(stack: Stack) -> None:
    look, delete = blocks("Disk full")
    assert "var/postgres" in run(stack, look)
    run(stack, delete)
    assert answers(stack)
    assert run(stack, "dvc status --quiet && echo as it was").endswith("as it was\n"), "no result was lost"


def test_a_key_that_leaked_is_refused_and_the_others_are_not(stack: Stack) -> None:
    leaked = run(stack, "DATABASE_URL=$DATABASE python -m api.keys create leaks").strip()
    revoke, another = blocks("A key leaked")
    with connect(stack) as client:
        mine = {"Authorization": f"Bearer {leaked}"}
        assert client.post("/api/reviews", json=REVIEW, headers=mine).status_code == 201
        run(stack, revoke, LEAKED=leaked)
        assert client.post("/api/reviews", json=REVIEW, headers=mine).status_code == 401
        assert client.post("/api/reviews", json=REVIEW).status_code == 201
    before = stack.api_key
    run(stack, another)
    assert stack.api_key != before
    with connect(stack) as client:
        assert client.post("/api/reviews", json=REVIEW).status_code == 201
