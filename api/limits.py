"""How much one caller may ask: counted in the database, so that all processes count together."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import Connection, String, text
from sqlmodel import Field, SQLModel

from api import metrics
from api.errors import TooManyRequestsError

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class RateLimit(SQLModel, table=True):
    """Until when a caller has spent; the past is a full quota. After a crash all begin anew."""

    __tablename__ = "rate_limit"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    name: str = Field(primary_key=True, sa_type=String(64))
    spent_until: datetime


# The generic cell rate algorithm: a quota is a length of time, a request spends some of it, and time gives it
# back. One row a caller, one round trip, and no moment at which two quotas can be had at once.
TAKE = text("""
WITH taken AS (
    INSERT INTO rate_limit AS kept (name, spent_until) VALUES (:name, now() + make_interval(secs => :cost))
    ON CONFLICT (name) DO UPDATE
        SET spent_until = greatest(kept.spent_until, now()) + make_interval(secs => :cost)
        WHERE greatest(kept.spent_until, now()) + make_interval(secs => :cost - :window) <= now()
    RETURNING spent_until
)
SELECT true AS granted, extract(epoch FROM spent_until - now())::float8 AS spent FROM taken
UNION ALL
SELECT false, extract(epoch FROM spent_until - now())::float8 FROM rate_limit
WHERE name = :name AND NOT EXISTS (SELECT FROM taken)
""")
FORGET = "DELETE FROM rate_limit WHERE spent_until < now()"
"""Whoever has a full quota need not be remembered."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`quota` requests in `window` seconds: all at once if need be, and then as they come back."""

    kind: str
    quota: int
    window: int

    @classmethod
    def parse(cls, kind: str, words: str) -> Self | None:
        """Of `600/minute`; None of `off`. The settings have checked it."""
        if words == "off":
            return None
        quota, _, unit = words.partition("/")
        return cls(kind, int(quota), SECONDS[unit])

    def take(self, connection: Connection, caller: str, cost: int) -> dict[str, str]:
        """Spend; returns the headers that say what is left. Raises TooManyRequestsError.

        More than the whole quota costs the whole quota: else it could never be had.
        """
        each = self.window / self.quota
        price = min(cost, self.quota) * each
        asked = {"name": f"{self.kind}:{caller}", "cost": price, "window": float(self.window)}
        row = connection.execute(TAKE, asked).first()
        # None: the row has come since this statement began. Whoever brought it was the first to spend of it.
        granted, spent = (True, price) if row is None else row
        headers = self._headers(max(0.0, spent))
        if granted:
            return headers
        metrics.LIMIT_REFUSALS.labels(self.kind).inc()
        seconds = max(1, math.ceil(spent + price - self.window))
        raise TooManyRequestsError(
            f"Of {self.quota} requests in {self.window} seconds none is left: wait {seconds} seconds.",
            {"Retry-After": str(seconds), **headers},
        )

    def _headers(self, spent: float) -> dict[str, str]:
        """draft-ietf-httpapi-ratelimit-headers: the policy, what remains, seconds until all is back."""
        remaining = max(0, math.floor((self.window - spent) * self.quota / self.window + 1e-6))
        return {
            "RateLimit-Policy": f'"{self.kind}";q={self.quota};w={self.window}',
            "RateLimit": f'"{self.kind}";r={remaining};t={math.ceil(spent)}',
        }
