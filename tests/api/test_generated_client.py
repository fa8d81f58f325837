"""A typed client, generated from the OpenAPI document by openapi-python-client."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.api.requests import MOVIE, REVIEW

pytestmark = pytest.mark.process

PACKAGE = "movie_review_service_client"


@pytest.fixture
def generated(app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the generated package."""
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(app.openapi()), encoding="utf-8")
    command = (Path(sys.executable).with_name("openapi-python-client"), "generate", "--path", document)
    target = tmp_path / "generated"
    done = subprocess.run([*command, "--output-path", target], capture_output=True, text=True, timeout=120)
    assert (done.returncode, "WARNING" in done.stdout) == (0, False), done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(target))
    reviews = (
        "create_review",
        "read_review",
        "list_reviews",
        "replace_review",
        "change_review",
        "delete_review",
    )
    modules = {name: importlib.import_module(f"{PACKAGE}.api.reviews.{name}") for name in reviews}
    models = importlib.import_module(f"{PACKAGE}.models")
    client = importlib.import_module(f"{PACKAGE}.client")
    yield SimpleNamespace(**modules, models=models, client=client)
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


async def test_reviews_are_created_read_changed_and_deleted_through_it(
    generated: SimpleNamespace, client: httpx.AsyncClient
) -> None:
    api = generated.client.Client(base_url="http://api.test").set_async_httpx_client(client)
    models = generated.models

    async def call(name: str, *path: str, **rest: Any) -> Any:
        return await getattr(generated, name).asyncio_detailed(*path, client=api, **rest)

    created = await call("create_review", body=models.ReviewCreate(**REVIEW))
    assert created.status_code == HTTPStatus.CREATED
    review = created.parsed
    assert isinstance(review, models.ReviewPublic)
    path = MOVIE, review.id
    read = await call("read_review", *path)
    assert read.parsed == review
    assert read.headers["ETag"] == '"1"'
    listed = await call("list_reviews", MOVIE, sentiment="pending")
    assert listed.parsed.items == [review]

    update = models.ReviewUpdate.from_dict({**review.to_dict(), "rating": 3})
    replaced = await call("replace_review", *path, body=update, if_match='"1"')
    assert replaced.parsed.rating == 3
    changed = await call("change_review", *path, body=models.ReviewPatch(text="Dull."))
    assert (changed.parsed.text, changed.parsed.rating) == ("Dull.", 3)
    stale = await call("delete_review", *path, if_match='"1"')
    assert isinstance(stale.parsed, models.Problem)
    assert (stale.status_code, stale.parsed.code) == (HTTPStatus.PRECONDITION_FAILED, "edited")
    assert (await call("delete_review", *path)).status_code == HTTPStatus.NO_CONTENT
    gone = await call("read_review", *path)
    assert (gone.status_code, gone.parsed.code) == (HTTPStatus.NOT_FOUND, "not_found")
