"""The application as a whole: what it imports, its OpenAPI document, and its process under uvicorn."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from api.main import create_app
from benchmarks import hostile_bodies
from benchmarks.processes import free_port
from tests.api.conftest import PATIENT, bearer
from tests.api.requests import MOVIE, UPDATE, create, problem
from tests.api.waiting import until
from tests.postgres import ROOT, connected

HEAVY = {"torch", "transformers", "mlflow", "bentoml", "openvino", "pandas", "numpy"}


# Imports

LOAD_TWICE = """
import os, sys
from api.main import create_app
create_app()
print(*sys.modules)
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
create_app()
print(*sys.modules)
"""


@pytest.mark.process
def test_no_model_library_is_imported_and_tracing_only_when_enabled() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_TWICE],
        cwd=ROOT,
        env={
            "DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    without_tracing, with_tracing = (set(line.split()) for line in done.stdout.splitlines())
    assert "fastapi" in without_tracing
    assert not {name.partition(".")[0] for name in with_tracing} & HEAVY
    assert "opentelemetry.sdk.trace" not in without_tracing
    assert "opentelemetry.sdk.trace" in with_tracing


# The OpenAPI document


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


ALWAYS = {"401", "429", "503"}
WRITTEN = {"200", "403", "404", "408", "412", "413", "415", "422", *ALWAYS}
DELETED = {"204", "403", "404", "412", "422", *ALWAYS}
OPERATIONS = {
    ("post", "/api/reviews"): ("create_review", {"201", "403", "408", "409", "413", "415", "422", *ALWAYS}),
    ("get", "/api/reviews/{movie_id}"): ("list_reviews", {"200", "404", "422", *ALWAYS}),
    ("get", "/api/reviews/{movie_id}/{review_id}"): ("read_review", {"200", "304", "404", "422", *ALWAYS}),
    ("put", "/api/reviews/{movie_id}/{review_id}"): ("replace_review", WRITTEN),
    ("patch", "/api/reviews/{movie_id}/{review_id}"): ("change_review", WRITTEN),
    ("delete", "/api/reviews/{movie_id}/{review_id}"): ("delete_review", DELETED),
    ("put", "/api/reviews/{review_id}"): ("replace_review_by_id", WRITTEN),
    ("delete", "/api/reviews/{review_id}"): ("delete_review_by_id", DELETED),
    ("get", "/api/movies"): ("list_movies", {"200", "422", *ALWAYS}),
    ("get", "/api/movies/{movie_id}"): ("read_movie", {"200", "404", "422", *ALWAYS}),
    ("post", "/api/analyze"): ("analyze", {"200", "408", "413", "415", "422", "502", "504", *ALWAYS}),
    ("post", "/api/analyze/batch"): (
        "analyze_batch",
        {"200", "408", "413", "415", "422", "502", "504", *ALWAYS},
    ),
    ("get", "/livez"): ("livez", {"200"}),
    ("get", "/readyz"): ("readyz", {"200", "503"}),
}


async def test_every_operation_is_documented_with_all_its_responses(document: dict[str, Any]) -> None:
    found = {
        (method, path): (operation["operationId"], set(operation["responses"]))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert found == OPERATIONS


async def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    content = {"schema": {"$ref": "#/components/schemas/Problem"}}
                    assert response["content"] == {"application/problem+json": content}
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_schemas_have_limits_and_valid_examples(
    document: dict[str, Any], client: httpx.AsyncClient
) -> None:
    schema = document["components"]["schemas"]["ReviewCreate"]
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"movie_id", "author", "text"}
    assert schema["properties"]["text"]["maxLength"] == 20_000
    assert document["components"]["schemas"]["AnalyzeBatch"]["properties"]["texts"]["maxItems"] == 64
    await create(client, **{name: field["examples"][0] for name, field in schema["properties"].items()})


async def test_the_docs_page_is_served(client: httpx.AsyncClient) -> None:
    assert "/openapi.json" in (await client.get("/docs")).text


def test_trusting_every_proxy_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    for trusted, warnings in (("127.0.0.1", 0), ("*", 1)):
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
        create_app()
        assert len(caplog.records) == warnings


# The process under uvicorn


def uvicorn(port: int, cwd: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    words = ["--factory", "api.main:create_app", "--app-dir", str(ROOT), "--port", str(port), *options]
    clean = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *words],
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def wait_until_alive(client: httpx.AsyncClient, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            assert (await client.get("/livez")).status_code == 200
        except httpx.TransportError:
            await asyncio.sleep(0.1)
        else:
            return
    pytest.fail("uvicorn did not start")


@pytest.mark.usefixtures("nothing_spent")
async def test_the_process_serves_and_shuts_down_gracefully(
    tmp_path: Path,
    client: httpx.AsyncClient,
    api_key: str,
    database_url: str,
    sql: asyncpg.Connection,
) -> None:
    port = free_port()
    # Nothing listens on port 1: this process has no Bento.
    settings = {"DATABASE_URL": database_url, "BENTO_URL": "http://127.0.0.1:1"}
    patient = {name.upper(): str(seconds) for name, seconds in PATIENT.items()}
    with uvicorn(port, tmp_path, **settings, **patient) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(
                base_url=url, headers=bearer(api_key), timeout=60, trust_env=False
            ) as remote:
                await wait_until_alive(remote, process)
                await check_the_api(remote)
                edited = await stop_during_an_edit(process, port, remote, database_url, sql)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode in {0, -signal.SIGTERM}, output
    assert "Application shutdown complete" in output
    assert "Traceback" not in output
    assert '"POST /api/analyze HTTP/1.1" 503' in output
    assert (await client.get(f"/api/reviews/{MOVIE}")).json()["items"] == [edited]


async def test_hostile_bodies_from_many_connections_neither_stall_nor_fill_the_process(
    tmp_path: Path, database_url: str
) -> None:
    """Wide bounds, for a busy machine: before the limits of api.bodies it was 20 seconds and 2 GiB."""
    settings = {"DATABASE_URL": database_url, "BENTO_URL": "http://127.0.0.1:1"}
    settings |= {"API_LIMIT_ANALYZE": "off", "API_BODY_TIMEOUT_SECONDS": "3"}
    with uvicorn(port := free_port(), tmp_path, **settings) as process:
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as remote:
                await wait_until_alive(remote, process)
            sent = hostile_bodies.shapes(slow_seconds=6) * 3
            found = await asyncio.to_thread(hostile_bodies.measure, "127.0.0.1", port, "all", sent)
        finally:
            process.kill()
            output, _ = process.communicate()
    # The maximal texts are valid, but nothing can analyse them.
    assert set(found.statuses) <= {"401", "408", "413", "415", "422", "503", "ConnectionResetError"}, found
    assert found.longest_livez_ms < 3000
    assert found.grown_mebibytes < 250
    assert "Traceback" not in output


async def check_the_api(remote: httpx.AsyncClient) -> None:
    review = await create(remote)
    assert (await remote.get(f"/api/reviews/{MOVIE}")).json()["items"] == [review]
    assert (await remote.get("/readyz")).json()["bento"] == "unavailable"
    problem(await remote.post("/api/analyze", json={"text": "x"}), 503)
    problem(await remote.get("/nothing"), 404)


async def stop_during_an_edit(
    process: subprocess.Popen[str],
    port: int,
    remote: httpx.AsyncClient,
    database_url: str,
    sql: asyncpg.Connection,
) -> dict[str, Any]:
    """Send SIGTERM while a request waits for a lock; return the answer to that request."""
    ((review_id,),) = await sql.fetch("SELECT id FROM review")
    async with connected(database_url) as other:
        async with other.transaction():
            await other.execute("SELECT FROM review FOR UPDATE")
            in_flight = asyncio.create_task(remote.put(f"/api/reviews/{review_id}", json=UPDATE))
            await until(lambda: sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            process.send_signal(signal.SIGTERM)
            await until(lambda: is_refused(port))
            assert not in_flight.done()
        answer = await in_flight
    assert answer.status_code == 200, answer.text
    edited: dict[str, Any] = answer.json()
    assert edited["text"] == UPDATE["text"]
    return edited


async def is_refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@pytest.mark.process
def test_without_a_database_url_the_process_says_so_and_exits(tmp_path: Path) -> None:
    with uvicorn(free_port(), tmp_path) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "DATABASE_URL is not set" in output
    assert "Traceback" not in output


@pytest.mark.process
@pytest.mark.parametrize(("options", "environment"), [(["--workers=2"], {}), ([], {"WEB_CONCURRENCY": "2"})])
def test_several_workers_are_refused(options: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    with uvicorn(free_port(), tmp_path, *options, **environment) as process:
        output, _ = process.communicate(timeout=60)
    assert "/metrics would count one of several workers" in output
    assert "failed to start, stopping the parent process" in output
    assert "Traceback" not in output


@pytest.mark.process
async def test_the_process_reloads(tmp_path: Path) -> None:
    port = free_port()
    with uvicorn(port, tmp_path, "--reload", DATABASE_URL="postgresql://127.0.0.1:1/reviews") as process:
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as remote:
                await wait_until_alive(remote, process)
        finally:
            process.terminate()
            process.communicate(timeout=60)
