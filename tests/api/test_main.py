import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from benchmarks.serving.processes import free_port
from tests.api.conftest import PATIENT, bearer
from tests.api.requests import MOVIE, UPDATE, create, problem
from tests.api.waiting import until
from tests.postgres import ROOT, plain

HEAVY = {"torch", "transformers", "mlflow", "bentoml", "openvino", "pandas", "numpy"}


def test_the_api_loads_no_model_library() -> None:
    code = "import sys, api.main; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fastapi" in loaded
    assert not loaded & HEAVY


# The document


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


ALWAYS = {"401", "429", "503"}
OPERATIONS = {
    ("post", "/api/reviews"): ("create_review", {"201", "403", "409", "413", "415", "422", *ALWAYS}),
    ("get", "/api/reviews/{movie_id}"): ("list_reviews", {"200", "404", "422", *ALWAYS}),
    ("get", "/api/reviews/{movie_id}/{review_id}"): ("read_review", {"200", "304", "404", *ALWAYS}),
    ("put", "/api/reviews/{review_id}"): (
        "replace_review",
        {"200", "403", "404", "412", "413", "415", "422", *ALWAYS},
    ),
    ("delete", "/api/reviews/{review_id}"): ("delete_review", {"204", "403", "404", "412", *ALWAYS}),
    ("get", "/api/movies"): ("list_movies", {"200", "422", *ALWAYS}),
    ("get", "/api/movies/{movie_id}"): ("read_movie", {"200", "404", *ALWAYS}),
    ("post", "/api/analyze"): ("analyze", {"200", "413", "415", "422", "502", "504", *ALWAYS}),
    ("post", "/api/analyze/batch"): ("analyze_batch", {"200", "413", "415", "422", "502", "504", *ALWAYS}),
    ("get", "/livez"): ("livez", {"200"}),
    ("get", "/readyz"): ("readyz", {"200", "503"}),
}


async def test_every_operation_is_named_with_all_its_answers(document: dict[str, Any]) -> None:
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


async def test_requests_have_limits_and_examples_that_work(
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


# The process


@pytest.fixture
def port() -> int:
    return free_port()


def uvicorn(port: int, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    words = ["--factory", "api.main:create_app", "--app-dir", str(ROOT), "--port", str(port)]
    clean = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *words],
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def process(port: int, tmp_path: Path, database_url: str) -> Iterator[subprocess.Popen[str]]:
    # Port 1 answers nobody: this process has no Bento.
    bereft = {"DATABASE_URL": database_url, "BENTO_URL": "http://127.0.0.1:1"}
    patient = {name.upper(): str(seconds) for name, seconds in PATIENT.items()}
    with uvicorn(port, tmp_path, **bereft, **patient) as process:
        yield process
        process.kill()


async def wait_until_alive(client: httpx.AsyncClient, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            assert (await client.get("/livez")).status_code == 200
        except httpx.TransportError:
            await asyncio.sleep(0.1)
        else:
            return
    pytest.fail("uvicorn did not start")


async def test_a_real_process_serves_and_stops_when_asked(
    process: subprocess.Popen[str], port: int, client: httpx.AsyncClient, api_key: str
) -> None:
    url, key = f"http://127.0.0.1:{port}", bearer(api_key)
    async with httpx.AsyncClient(base_url=url, headers=key, trust_env=False) as remote:
        await wait_until_alive(remote, process)
        review = await create(remote)
        assert (await remote.get(f"/api/reviews/{MOVIE}")).json()["items"] == [review]
        assert (await remote.get("/readyz")).json()["bento"] == "unavailable"
        problem(await remote.post("/api/analyze", json={"text": "x"}), 503)
        problem(await remote.get("/nothing"), 404)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert process.returncode in {0, -signal.SIGTERM}, output
    assert "Application shutdown complete" in output
    assert "Traceback" not in output


async def test_a_request_under_way_is_answered_before_the_process_ends(
    process: subprocess.Popen[str],
    port: int,
    client: httpx.AsyncClient,
    api_key: str,
    database_url: str,
    sql: asyncpg.Connection,
) -> None:
    review = await create(client)
    url, key = f"http://127.0.0.1:{port}", bearer(api_key)
    other = await asyncpg.connect(plain(database_url))
    try:
        async with httpx.AsyncClient(base_url=url, headers=key, trust_env=False) as remote:
            await wait_until_alive(remote, process)
            async with other.transaction():
                await other.execute("SELECT FROM review FOR UPDATE")
                under_way = asyncio.create_task(remote.put(f"/api/reviews/{review['id']}", json=UPDATE))
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                await until(lambda: sql.fetchval(waiting), seconds=30)
                process.send_signal(signal.SIGTERM)
                await until_refused(port)
                assert not under_way.done()
            answer = await under_way
            assert answer.status_code == 200, answer.text
            assert answer.json()["text"] == UPDATE["text"]
    finally:
        await other.close()
    output, _ = process.communicate(timeout=10)
    assert "Application shutdown complete" in output
    assert "Traceback" not in output
    assert (await client.get(f"/api/reviews/{MOVIE}")).json()["items"] == [answer.json()]


async def until_refused(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.05)


def test_a_process_without_its_database_url_says_so_and_ends(port: int, tmp_path: Path) -> None:
    with uvicorn(port, tmp_path) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "DATABASE_URL is not set" in output
    assert "Traceback" not in output
