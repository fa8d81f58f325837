"""Deletes expired rows of api.idempotency and api.limits; workers run it between two batches of reviews."""

import time

import asyncpg

INTERVAL = 60.0
"""Seconds between two runs that leave nothing to delete."""
BATCH = 1000
"""Rows per table and run: a run delays the reviews by milliseconds, however much has expired."""

EXPIRED = (
    """
    DELETE FROM first_answer WHERE (caller, idempotency_key) IN (
        SELECT caller, idempotency_key FROM first_answer WHERE created_at < now() - interval '1 day'
        ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    """,
    # There is no index on `spent_until`, because every request would have to write it.
    """
    DELETE FROM rate_limit WHERE name IN (
        SELECT name FROM rate_limit WHERE spent_until < now() LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    """,
)


class Cleanup:
    """A run is due after INTERVAL, or at once if the last one may have left expired rows."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    @property
    def seconds_left(self) -> float:
        """Seconds until the next run is due, at least 0."""
        return max(0.0, self._due - time.monotonic())

    async def run_if_due(self, connection: asyncpg.Connection) -> None:
        """Delete at most one batch of expired rows per table."""
        if self.seconds_left:
            return
        # Set first: a failure is repeated after INTERVAL and does not keep the worker from its reviews.
        self._due = time.monotonic() + INTERVAL
        tags = [await connection.execute(statement, BATCH) for statement in EXPIRED]
        if f"DELETE {BATCH}" in tags:
            self._due = time.monotonic()
