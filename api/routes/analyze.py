"""Ask the model about a text without keeping it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError

from api import errors
from api.auth import admit_uncounted
from api.bento.client import BentoDep
from api.bodies import JsonRoute
from api.fields import ReviewText
from api.logs import answered_by
from api.sentiments import Analysis, Analyze, AnalyzeBatch, AnalyzeBatchPublic, SentimentError

router = APIRouter(
    prefix="/api/analyze",
    tags=["analyze"],
    route_class=JsonRoute,
    responses=errors.responses(401, 413, 415, 422, 429, 502, 503, 504),
)

Answer = TypeVar("Answer")

TEXT: TypeAdapter[str] = TypeAdapter(ReviewText)


@router.post("")
async def analyze(body: Analyze, bento: BentoDep, request: Request, response: Response) -> Analysis:
    await admit_uncounted(request, response, "analyze")
    (result,) = await _while_there(request, bento.classify([body.text]))
    if isinstance(result, SentimentError):
        # The Bento works, since it answers for this item alone: the fault is in the text.
        raise errors.UnprocessableError(f"text: {result.error}")
    answered_by.set(result.model_version)
    return result


@router.post("/batch")
async def analyze_batch(
    body: AnalyzeBatch, bento: BentoDep, request: Request, response: Response
) -> AnalyzeBatchPublic:
    """One result or one error for each text, in order: a bad text never fails its neighbours."""
    await admit_uncounted(request, response, "analyze", cost=len(body.texts))
    checked = [_check(text) for text in body.texts]
    good = [text for text in checked if isinstance(text, str)]
    found = await _while_there(request, bento.classify(good)) if good else []
    for version in {one.model_version for one in found if isinstance(one, Analysis)}:
        answered_by.set(version)  # it is one: no batch of the Bento mixes two
    answers = iter(found)
    return AnalyzeBatchPublic(results=[next(answers) if isinstance(text, str) else text for text in checked])


def _check(text: str) -> str | SentimentError:
    try:
        return TEXT.validate_python(text)
    except ValidationError as error:
        return SentimentError(error=error.errors()[0]["msg"])


async def _while_there(request: Request, asking: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer, unless the client hangs up first: then the asking is cancelled."""
    answer = asyncio.ensure_future(asking)
    gone = asyncio.ensure_future(request.receive())  # the body is read: what comes next is the client's end
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise errors.ClientGoneError("The client hung up.")
        return await answer
    finally:
        answer.cancel()
        gone.cancel()
