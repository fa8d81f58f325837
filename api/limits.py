"""Rate limits per caller, counted in the database so that all processes share them."""

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
    """The time at which a caller has their full quota again; a missing row means now.

    A crash of PostgreSQL resets all rows. The worker deletes rows whose time has passed (api.cleanup).
    """

    __tablename__ = "rate_limit"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    name: str = Field(primary_key=True, sa_type=String(64))
    spent_until: datetime


# The generic cell rate algorithm: the quota is a length of time, a request spends a part of it, and it
# refills as time passes. It takes one row per caller and one round trip, and has no window boundary at which
# a caller could use two quotas.
TAKE = text("""
WITH taken AS (
    INSERT INTO rate_limit AS old (name, spent_until) VALUES (:name, now() + make_interval(secs => :cost))
    ON CONFLICT (name) DO UPDATE
        SET spent_until = greatest(old.spent_until, now()) + make_interval(secs => :cost)
        WHERE greatest(old.spent_until, now()) + make_interval(secs => :cost - :window) <= now()
    RETURNING spent_until
)
SELECT true AS granted, extract(epoch FROM spent_until - now())::float8 AS spent FROM taken
UNION ALL
SELECT false, extract(epoch FROM spent_until - now())::float8 FROM rate_limit
WHERE name = :name AND NOT EXISTS (SELECT FROM taken)
""")


@dataclass(frozen=True, slots=True)
class Limit:
    """`quota` requests per `window` seconds, in a burst or spread; the quota refills continuously."""

    kind: str
    quota: int
    window: int

    @classmethod
    def parse(cls, kind: str, words: str) -> Self | None:
        """Parse a validated setting such as `600/minute`; return None for `off`."""
        if words == "off":
            return None
        quota, _, unit = words.partition("/")
        return cls(kind, int(quota), SECONDS[unit])

    def take(self, connection: Connection, caller: str, cost: int, paid: int = 0) -> dict[str, str]:
        """Charge a request's `cost` to the caller, less what was `paid` before; return the RateLimit headers.

        A cost above the quota is charged as the whole quota. Raises TooManyRequestsError.
        """
        price = (min(cost, self.quota) - paid) * self.window / self.quota
        parameters = {"name": f"{self.kind}:{caller}", "cost": price, "window": float(self.window)}
        row = None
        while row is None:
            # No row: the quota is spent by a concurrent request, whose row is newer than the snapshot of this
            # statement. The next statement sees it.
            row = connection.execute(TAKE, parameters).first()
        granted, spent = row
        headers = self._headers(max(0.0, spent))
        if granted:
            return headers
        metrics.LIMIT_REFUSALS.labels(self.kind).inc()
        seconds = max(1, math.ceil(spent + price - self.window))
        raise TooManyRequestsError(
            f"Over the limit of {self.quota} requests per {self.window} seconds: wait {seconds} seconds.",
            {"Retry-After": str(seconds), **headers},
        )

    def _headers(self, spent: float) -> dict[str, str]:
        """Headers of draft-ietf-httpapi-ratelimit-headers: policy, remaining quota, seconds to a full one."""
        remaining = max(0, math.floor((self.window - spent) * self.quota / self.window + 1e-6))
        return {
            "RateLimit-Policy": f'"{self.kind}";q={self.quota};w={self.window}',
            "RateLimit": f'"{self.kind}";r={remaining};t={math.ceil(spent)}',
        }
