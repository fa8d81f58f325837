"""The queue of reviews whose sentiment is to be found: the rows of `review` themselves.

A row is due when its `analyze_after` has passed, and done when that is null. A trigger (migration 0002) sends
NOTIFY when one becomes due. Who claims a row puts the moment off by a lease, so that nobody waits for a lock
while the model thinks, and so that the rows of a worker that dies are due again.
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
# A result is kept only for the very text that was read.
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
# Those that have been due for longest, and no more of them than can be looked at often. What has a sentiment
# of an older model, or has failed, is not late: nobody waits for it.
BACKLOG = """
SELECT count(*), count(*) FILTER (WHERE analyze_attempts > 0), coalesce(extract(epoch FROM
    now() - min(updated_at) FILTER (WHERE sentiment_label IS NULL AND analyze_attempts = 0)), 0)::float
FROM (SELECT * FROM review WHERE analyze_after IS NOT NULL ORDER BY analyze_after LIMIT 10000) AS waiting
"""
# In the order of the ids, so that no row is looked at twice, however many there are.
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
class PendingReview:
    """A claimed review: the text that is to be read, and how often that has failed."""

    id: UUID
    text: str
    attempts: int


async def claim(connection: asyncpg.Connection, most: int, lease: timedelta) -> list[PendingReview]:
    """The reviews that have been due for longest; nobody else gets them before the lease is over."""
    return [PendingReview(*row) for row in await connection.fetch(CLAIM, most, lease)]


async def store(connection: asyncpg.Connection, found: Sequence[tuple[PendingReview, Sentiment]]) -> None:
    """Keep the sentiments of texts that are still those of their reviews."""
    await connection.execute(
        STORE,
        [due.id for due, _ in found],
        [due.text for due, _ in found],
        [sentiment.label for _, sentiment in found],
        [sentiment.score for _, sentiment in found],
        [sentiment.model_version for _, sentiment in found],
    )


async def postpone(connection: asyncpg.Connection, failed: Sequence[tuple[PendingReview, timedelta]]) -> None:
    """Let reviews that cannot be analysed be due again later, each after its delay."""
    await connection.execute(
        POSTPONE,
        [due.id for due, _ in failed],
        [due.text for due, _ in failed],
        [delay for _, delay in failed],
        [1 for _ in failed],
    )


async def give_back(connection: asyncpg.Connection, claimed: Sequence[PendingReview]) -> None:
    """Let claimed reviews be due again now: it was not their fault."""
    await connection.execute(
        POSTPONE,
        [due.id for due in claimed],
        [due.text for due in claimed],
        [timedelta(0) for _ in claimed],
        [0 for _ in claimed],
    )


async def rescore(connection: asyncpg.Connection, model_version: str, at_a_time: int = 1000) -> int:
    """Make every review due whose sentiment is another version's; how many. The old ones stay meanwhile."""
    count, last = 0, UUID(int=0)
    while True:
        page = await connection.fetchrow(RESCORE, model_version, last, at_a_time)
        if page is None or page["last"] is None:
            return count
        count, last = count + page["count"], page["last"]
