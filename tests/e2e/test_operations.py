"""The operations page: each block is run as written after breaking what it repairs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.processes import stack_processes
from tests.deploy.stack import Stack, wait_for
from tests.e2e.conftest import connect
from tests.e2e.runbook import PAGE, blocks, run

REVIEW = {"movie_id": "reviewed-during-an-incident", "author": "Ada", "text": "Warm, funny and brave."}
MODEL = "sentiment"


def suspend(stack: Stack, service: str) -> None:
    """Stop the processes of a service as a debugger would: they neither respond nor exit."""
    for process in stack_processes(stack.var, service):
        process.suspend()


def is_serving(stack: Stack) -> bool:
    with connect(stack) as client:
        responses = client.post("/api/analyze", json={"text": "Fine."}), client.get("/api/movies")
    return [response.status_code for response in responses] == [200, 200]


def served_version(stack: Stack) -> str:
    with connect(stack) as client:
        version: str = client.post("/api/analyze", json={"text": "Fine."}).json().get("model_version", "")
    return version


class Registry:
    """MLflow's REST API. Its Python client would take seconds to import."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack.url("MLFLOW_PORT", "/api/2.0/mlflow")

    def call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        where: dict[str, Any] = {"params": content} if method == "GET" else {"json": content}
        response = httpx.request(method, self._url + path, **where, trust_env=False, timeout=60)
        assert response.is_success, response.text
        found: dict[str, Any] = response.json()
        return found

    def version(self, alias: str) -> dict[str, Any]:
        found = self.call("GET", "/registered-models/alias", name=MODEL, alias=alias)
        version: dict[str, Any] = found["model_version"]
        return version

    def set_alias(self, alias: str, version: str) -> None:
        self.call("POST", "/registered-models/alias", name=MODEL, alias=alias, version=version)


@pytest.fixture
def challenger(stack: Stack) -> Iterator[str]:
    """A second version of the champion's model; both have the same accuracy."""
    registry = Registry(stack)
    first, before = registry.version("champion"), registry.version("challenger")["version"]
    content = {name: first[name] for name in ("source", "run_id", "tags")}
    content["model_id"] = first["source"].removeprefix("models:/")
    version = registry.call("POST", "/model-versions/create", name=MODEL, **content)["model_version"]
    created: str = version["version"]
    registry.set_alias("challenger", created)
    yield created
    registry.set_alias("champion", first["version"])  # even if the test failed
    registry.set_alias("challenger", before)
    registry.call("DELETE", "/model-versions/delete", name=MODEL, version=created)


def test_every_link_leads_to_a_heading() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= anchors


def test_every_section_with_commands_is_tested() -> None:
    tests = Path(__file__).parent.glob("test_*.py")
    tested = "".join(path.read_text(encoding="utf-8") for path in tests)
    with_commands = [part.partition("\n")[0] for part in PAGE.split("\n## ")[1:] if "```sh" in part]
    assert len(with_commands) == 11
    assert all(f'"{heading}"' in tested for heading in with_commands)


def test_begin(stack: Stack) -> None:
    output = run(stack, blocks("Operations")[0].partition("\n")[2].partition("\n")[2])
    assert "healthy" in output
    assert '"bento":"ok"' in output
    # `run` substitutes this command by its result.
    assert stack.run("database-url").strip() == stack.database_url


def test_promote_and_roll_back(stack: Stack, challenger: str) -> None:
    before = served_version(stack)
    promote, rescore = blocks("Promote")
    # Limits for the few validation reviews of a test, and for a busy machine.
    limits = {"SENTIMENT_PROMOTE_MAX_ACCURACY_LOSS": "0.05", "SENTIMENT_PROMOTE_MAX_LATENCY_RATIO": "100"}
    promote = promote.replace("why, in a sentence", "reason-of-the-test: why, in a sentence")
    run(stack, promote, **limits)
    wait_for(lambda: served_version(stack) == challenger, seconds=180)
    assert f"for version {challenger}" in run(stack, rescore)
    assert "reason-of-the-test" in run(stack, *blocks("Roll back"))
    wait_for(lambda: served_version(stack) == before, seconds=180)


def test_a_stopped_bento_is_restarted(stack: Stack) -> None:
    """Without the Bento, analyzing returns 503 and reviews can still be written."""
    stack.supervisor.stop("bento")
    with connect(stack) as client:
        refused = client.post("/api/analyze", json={"text": "Fine."})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        created = client.post("/api/reviews", json=REVIEW)
        assert created.status_code == 201
        assert client.delete(f"/api/reviews/{created.json()['id']}").status_code == 204
    restart(stack, "bento", "The model service is down")


@pytest.mark.parametrize(
    ("service", "heading"), [("postgres", "The database is down"), ("mlflow", "MLflow is down")]
)
def test_stopped_storage_is_restarted(stack: Stack, service: str, heading: str) -> None:
    stack.supervisor.stop(service)
    restart(stack, service, heading)


def restart(stack: Stack, service: str, heading: str) -> None:
    output = run(stack, *blocks(heading))
    assert re.search(rf"^{service} +(stopped|exited)", output, re.MULTILINE)
    wait_for(lambda: is_serving(stack))
    assert "down" not in run(stack, "python -m deploy.local status")


def test_a_suspended_worker_is_restarted(stack: Stack) -> None:
    with connect(stack) as client:
        suspend(stack, "worker")
        location = client.post("/api/reviews", json=REVIEW).raise_for_status().headers["Location"]
        output = run(stack, *blocks("Sentiments are late"))
        assert re.search(r"^ +[1-9]\d* \| 00:00:", output, re.MULTILINE), (
            "the count and age of pending reviews"
        )
        wait_for(lambda: client.get(location).json()["sentiment"] is not None)


@pytest.mark.parametrize("heading", ["Too many errors", "Slow answers"])
def test_commands_for_diagnosis(stack: Stack, heading: str) -> None:
    run(stack, *blocks(heading))
    wait_for(lambda: is_serving(stack))


def test_disk_full(stack: Stack) -> None:
    look, delete = blocks("Disk full")
    assert "var/postgres" in run(stack, look)
    run(stack, delete)
    assert is_serving(stack)
    assert run(stack, "dvc status --quiet && echo unchanged").endswith("unchanged\n"), "no result is lost"


def test_a_leaked_key_is_revoked_and_other_keys_stay_valid(stack: Stack) -> None:
    leaked = run(stack, "DATABASE_URL=$DATABASE python -m api.keys create leaks").strip()
    revoke, replace = blocks("A key leaked")
    with connect(stack) as client:
        headers = {"Authorization": f"Bearer {leaked}"}
        assert client.post("/api/reviews", json=REVIEW, headers=headers).status_code == 201
        run(stack, revoke, LEAKED=leaked)
        assert client.post("/api/reviews", json=REVIEW, headers=headers).status_code == 401
        assert client.post("/api/reviews", json=REVIEW).status_code == 201
    env = stack.root / ".env"
    before, old = env.read_text(), stack.api_key
    run(stack, replace)
    assert stack.api_key not in ("", old)
    with connect(stack) as client:
        assert client.post("/api/reviews", json=REVIEW).status_code == 201
    env.write_text(before)  # otherwise the next `up` would notice the change and restart the whole stack
