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

# A review without a sentiment comes before those that a new model is to analyse again. Each kind is read in
# the order of its index: review_unscored and review_due.
CLAIM = """
WITH unscored AS (
    SELECT id FROM review WHERE analyze_after <= now() AND sentiment_label IS NULL
    ORDER BY analyze_after LIMIT $1 FOR UPDATE SKIP LOCKED
), scored AS (
    SELECT id FROM review WHERE analyze_after <= now() AND sentiment_label IS NOT NULL
    ORDER BY analyze_after LIMIT $1 - (SELECT count(*) FROM unscored) FOR UPDATE SKIP LOCKED
)
UPDATE review SET analyze_after = now() + $2
WHERE id IN (SELECT id FROM unscored UNION ALL SELECT id FROM scored)
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
# If the lease has expired, another worker may have stored the result: then the row is no longer queued.
DELAY = """
UPDATE review SET analyze_after = now() + delayed.delay, analyze_attempts = analyze_attempts + $4
FROM unnest($1::uuid[], $2::text[], $3::interval[]) AS delayed (id, text, delay)
WHERE review.id = delayed.id AND review.text = delayed.text AND review.analyze_after IS NOT NULL
"""
# Limited to 10,000 rows, to be cheap enough for every scrape. The age ignores reviews that the model cannot
# analyse.
BACKLOG = """
SELECT count(*), count(*) FILTER (WHERE analyze_attempts > 0), coalesce(extract(epoch FROM
    now() - min(updated_at) FILTER (WHERE analyze_attempts = 0)), 0)::float
FROM (
    SELECT * FROM review WHERE analyze_after IS NOT NULL AND sentiment_label IS NULL
    ORDER BY analyze_after LIMIT 10000
) AS waiting
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
    """Claim pending reviews; no other worker gets them until the lease expires.

    Those without a sentiment come first, and among them the longest-pending.
    """
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
    await _delay(connection, failed, attempts=1)


async def release(connection: asyncpg.Connection, claimed: Sequence[ClaimedReview]) -> None:
    """Make claimed reviews pending again now, without counting an attempt."""
    await renew(connection, claimed, timedelta(0))


async def renew(connection: asyncpg.Connection, claimed: Sequence[ClaimedReview], lease: timedelta) -> None:
    """Let the lease of claimed reviews begin again now."""
    await _delay(connection, [(review, lease) for review in claimed], attempts=0)


async def _delay(
    connection: asyncpg.Connection, delayed: Sequence[tuple[ClaimedReview, timedelta]], attempts: int
) -> None:
    if not delayed:
        return
    await connection.execute(
        DELAY,
        [review.id for review, _ in delayed],
        [review.text for review, _ in delayed],
        [delay for _, delay in delayed],
        attempts,
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
