"""The queue of reviews waiting for a sentiment: it consists of the rows of `review` themselves.

A row is pending if its `analyze_after` has passed, and done if that is null. A trigger (migration 0002)
sends a NOTIFY when a row becomes pending. A worker claims a row by moving `analyze_after` forward by a lease:
no lock is held while the model runs, and the rows of a worker that crashes become pending again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from api.sentiments import Sentiment

CHANNEL = "review_due"

CLAIM = """
UPDATE review SET analyze_after = now() + $2
WHERE id IN (
    SELECT id FROM review WHERE analyze_after <= now()
    ORDER BY analyze_after LIMIT $1 FOR UPDATE SKIP LOCKED
)
RETURNING id, text, analyze_attempts
"""
# Comparing the text discards the result if the review was edited meanwhile.
STORE = """
UPDATE review SET sentiment_label = found.label, sentiment_score = found.score,
    sentiment_model_version = found.model_version, analyze_after = NULL, analyze_attempts = 0
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::float8[], $5::text[])
    AS found (id, text, label, score, model_version)
WHERE review.id = found.id AND review.text = found.text
"""
POSTPONE = """
UPDATE review
SET analyze_after = now() + postponed.delay, analyze_attempts = analyze_attempts + postponed.failed
FROM unnest($1::uuid[], $2::text[], $3::interval[], $4::int[]) AS postponed (id, text, delay, failed)
WHERE review.id = postponed.id AND review.text = postponed.text
"""
# Limited to 10,000 rows, to be cheap enough for every scrape. The age ignores reviews that have an older
# model's sentiment and those that the model cannot analyse.
BACKLOG = """
SELECT count(*), count(*) FILTER (WHERE analyze_attempts > 0), coalesce(extract(epoch FROM
    now() - min(updated_at) FILTER (WHERE sentiment_label IS NULL AND analyze_attempts = 0)), 0)::float
FROM (SELECT * FROM review WHERE analyze_after IS NOT NULL ORDER BY analyze_after LIMIT 10000) AS waiting
"""
# Pages in the order of the ids, so that each row is read once.
RESCORE = """
WITH page AS (
    SELECT id, analyze_after IS NULL AND sentiment_model_version <> $1 AS is_old
    FROM review WHERE id > $2 ORDER BY id LIMIT $3
), changed AS (
    UPDATE review SET analyze_after = now() FROM page WHERE review.id = page.id AND page.is_old RETURNING 1
)
SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*) FROM changed) AS count
"""


@dataclass(frozen=True, slots=True)
class ClaimedReview:
    """The text to analyse, and how often the model has failed to analyse it."""

    id: UUID
    text: str
    attempts: int


async def claim(connection: asyncpg.Connection, limit: int, lease: timedelta) -> list[ClaimedReview]:
    """Claim the longest-pending reviews; no other worker gets them until the lease expires."""
    return [ClaimedReview(*row) for row in await connection.fetch(CLAIM, limit, lease)]


async def store(connection: asyncpg.Connection, results: Sequence[tuple[ClaimedReview, Sentiment]]) -> None:
    """Store sentiments, except those of texts that were edited meanwhile."""
    await connection.execute(
        STORE,
        [review.id for review, _ in results],
        [review.text for review, _ in results],
        [sentiment.label for _, sentiment in results],
        [sentiment.score for _, sentiment in results],
        [sentiment.model_version for _, sentiment in results],
    )


async def postpone(connection: asyncpg.Connection, failed: Sequence[tuple[ClaimedReview, timedelta]]) -> None:
    """Count a failed attempt and retry each review after its delay."""
    await connection.execute(
        POSTPONE,
        [review.id for review, _ in failed],
        [review.text for review, _ in failed],
        [delay for _, delay in failed],
        [1 for _ in failed],
    )


async def release(connection: asyncpg.Connection, claimed: Sequence[ClaimedReview]) -> None:
    """Make claimed reviews pending again now, without counting an attempt."""
    await connection.execute(
        POSTPONE,
        [review.id for review in claimed],
        [review.text for review in claimed],
        [timedelta(0) for _ in claimed],
        [0 for _ in claimed],
    )


async def rescore(connection: asyncpg.Connection, model_version: str, page_size: int = 1000) -> int:
    """Make every review pending whose sentiment is from another version; return their number.

    They keep the old sentiment until the new one is stored.
    """
    count, last = 0, UUID(int=0)
    while True:
        page = await connection.fetchrow(RESCORE, model_version, last, page_size)
        if page is None or page["last"] is None:
            return count
        count, last = count + page["count"], page["last"]
