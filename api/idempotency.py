"""A POST that is sent again with the same Idempotency-Key gets the first answer, and creates nothing."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated

from fastapi import Header
from sqlalchemy import Index, LargeBinary, String, Text, func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession

from api import metrics
from api.errors import ConflictError
from api.reviews import Review, ReviewCreate, ReviewPublic

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any word of your own. Sent again within a day, the request gets its first answer.",
    ),
]


class FirstAnswer(SQLModel, table=True):
    """What the first request with a key was, and was answered; the worker forgets it after a day."""

    __tablename__ = "first_answer"
    __table_args__ = (Index("first_answer_created_at", "created_at"),)

    caller: str = Field(primary_key=True, sa_type=String(64))
    idempotency_key: str = Field(primary_key=True, sa_type=String(255))
    request_sha256: bytes = Field(sa_type=LargeBinary)
    answer: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_column_kwargs={"server_default": func.now()})


async def first_answer(
    session: AsyncSession, caller: str, key: str, new: ReviewCreate, review: Review
) -> ReviewPublic | None:
    """The answer to the caller's earlier request with this key, or None, and `review` is kept as this one's.

    Of two at the same time one waits for the other's commit. Raises ConflictError when the earlier request
    was another one.
    """
    asked = sha256(new.model_dump_json().encode()).digest()
    answer = ReviewPublic.model_validate(review)
    kept = insert(FirstAnswer).values(
        caller=caller, idempotency_key=key, request_sha256=asked, answer=answer.model_dump_json()
    )
    done = await session.exec(kept.on_conflict_do_nothing().returning(col(FirstAnswer.idempotency_key)))
    if done.first() is not None:
        return None
    earlier = await session.get_one(FirstAnswer, (caller, key))
    if earlier.request_sha256 != asked:
        raise ConflictError("This Idempotency-Key was sent with another request: take a new one.")
    metrics.FIRST_ANSWERS.inc()
    return ReviewPublic.model_validate_json(earlier.answer)
