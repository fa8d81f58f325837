"""Ask the model about a text without keeping it."""

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError

from api import errors
from api.models import Analysis, Analyze, AnalyzeBatch, AnalyzeBatchPublic, ReviewText, SentimentError
from api.sentiment import BentoDep

router = APIRouter(prefix="/api/analyze", tags=["analyze"], responses=errors.responses(422, 502, 503, 504))

TEXT: TypeAdapter[str] = TypeAdapter(ReviewText)


@router.post("")
async def analyze(body: Analyze, bento: BentoDep) -> Analysis:
    (result,) = await bento.classify([body.text])
    if isinstance(result, SentimentError):
        # The Bento works, since it answers for this item alone: the fault is in the text.
        raise errors.UnprocessableError(f"text: {result.error}")
    return result


@router.post("/batch")
async def analyze_batch(body: AnalyzeBatch, bento: BentoDep) -> AnalyzeBatchPublic:
    """One result or one error for each text, in order: a bad text never fails its neighbours."""
    checked = [_check(text) for text in body.texts]
    good = [text for text in checked if isinstance(text, str)]
    answers = iter(await bento.classify(good) if good else [])
    return AnalyzeBatchPublic(results=[next(answers) if isinstance(text, str) else text for text in checked])


def _check(text: str) -> str | SentimentError:
    try:
        return TEXT.validate_python(text)
    except ValidationError as error:
        return SentimentError(error=error.errors()[0]["msg"])
