"""Analyse texts without storing them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import TypeAdapter, ValidationError

from api import errors
from api.auth import admit_analysis, charge_batch
from api.bento.client import BentoDep
from api.bodies import MAX_BATCH_BYTES, json_route, max_bytes
from api.fields import ReviewText
from api.logs import model_version
from api.parameters import refuse_unknown_parameters
from api.sentiments import Analysis, Analyze, AnalyzeBatch, AnalyzeBatchPublic, SentimentError

router = APIRouter(
    prefix="/api/analyze",
    tags=["analyze"],
    route_class=json_route(admit_analysis),
    dependencies=[Depends(refuse_unknown_parameters)],
    responses=errors.responses(401, 408, 413, 415, 422, 429, 502, 503, 504),
)

Answer = TypeVar("Answer")

TEXT: TypeAdapter[str] = TypeAdapter(ReviewText)


@router.post("")
async def analyze(body: Analyze, bento: BentoDep, request: Request) -> Analysis:
    (result,) = await _until_disconnect(request, bento.classify([body.text]))
    if isinstance(result, SentimentError):
        # An error for one item is the fault of its text, not of the Bento.
        raise errors.invalid("body", ["text"], "not_analysable", result.error)
    model_version.set(result.model_version)
    return result


@router.post("/batch")
@max_bytes(MAX_BATCH_BYTES)
async def analyze_batch(body: AnalyzeBatch, bento: BentoDep, request: Request) -> AnalyzeBatchPublic:
    """Return one result or one error per text, in order. An invalid text does not fail the others."""
    await charge_batch(request, "analyze", cost=len(body.texts))
    checked = [_check(text) for text in body.texts]
    valid = [text for text in checked if isinstance(text, str)]
    found = await _until_disconnect(request, bento.classify(valid)) if valid else []
    for version in {result.model_version for result in found if isinstance(result, Analysis)}:
        model_version.set(version)  # at most one: the Bento answers a batch with one version
    answers = iter(found)
    return AnalyzeBatchPublic(results=[next(answers) if isinstance(text, str) else text for text in checked])


def _check(text: str) -> str | SentimentError:
    try:
        return TEXT.validate_python(text)
    except ValidationError as error:
        return SentimentError(error=error.errors()[0]["msg"])


async def _until_disconnect(request: Request, call: Coroutine[Any, Any, Answer]) -> Answer:
    """Await `call`, but cancel it and raise ClientGoneError if the client disconnects first."""
    answer = asyncio.ensure_future(call)
    # The body has been read, so the next message is http.disconnect.
    disconnect = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answer, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise errors.ClientGoneError("The client disconnected.")
        return await answer
    finally:
        answer.cancel()
        disconnect.cancel()
