"""Idempotency-Key: a repeated POST gets the first answer and creates nothing."""

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
        description="A unique string. A request repeated with it within a day gets the first answer.",
    ),
]


class FirstAnswer(SQLModel, table=True):
    """The first request with an Idempotency-Key and its answer; the worker deletes it after a day."""

    __tablename__ = "first_answer"
    __table_args__ = (Index("first_answer_created_at", "created_at"),)

    caller: str = Field(primary_key=True, sa_type=String(64))
    idempotency_key: str = Field(primary_key=True, sa_type=String(255))
    request_sha256: bytes = Field(sa_type=LargeBinary)
    answer: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_column_kwargs={"server_default": func.now()})


async def earlier_answer(
    session: AsyncSession, caller: str, key: str, new: ReviewCreate, review: Review
) -> ReviewPublic | None:
    """Return the answer to the caller's earlier request with this key; if there is none, store `review`.

    A concurrent request with the same key waits for the commit of the first. Raises ConflictError if the
    earlier request had another body.
    """
    request_sha256 = sha256(new.model_dump_json().encode()).digest()
    answer = ReviewPublic.model_validate(review)
    store = insert(FirstAnswer).values(
        caller=caller, idempotency_key=key, request_sha256=request_sha256, answer=answer.model_dump_json()
    )
    stored = await session.exec(store.on_conflict_do_nothing().returning(col(FirstAnswer.idempotency_key)))
    if stored.first() is not None:
        return None
    earlier = await session.get_one(FirstAnswer, (caller, key))
    if earlier.request_sha256 != request_sha256:
        raise ConflictError("This Idempotency-Key was used for another request: use a new one.")
    metrics.FIRST_ANSWERS.inc()
    return ReviewPublic.model_validate_json(earlier.answer)
