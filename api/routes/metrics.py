"""GET /metrics for Prometheus, which sends METRICS_TOKEN if one is set."""

import asyncio
import math
import secrets
import time

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Connection, Row, text

from api import metrics, review_queue
from api.database import StatementError, autocommit
from api.errors import UnauthorizedError, UnavailableError

router = APIRouter(include_in_schema=False)

DATABASE_TIMEOUT = 1.0
"""Seconds for the query: a slow database must not hold back the other metrics."""
CACHE_SECONDS = 5.0
"""Minimum time between two queries."""


class Backlog:
    """Metrics of the reviews waiting for a sentiment; in the API, because the worker may be down."""

    def __init__(self) -> None:
        self._refreshed = -math.inf

    async def refresh(self, request: Request) -> None:
        if time.monotonic() - self._refreshed < CACHE_SECONDS:
            return
        self._refreshed = time.monotonic()
        pending = unreadable = seconds = math.nan
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT):
                row = await autocommit(request, _backlog)
            pending, unreadable, seconds = row
        except (TimeoutError, UnavailableError, StatementError):
            metrics.DATABASE_UP.set(0)
        else:
            metrics.DATABASE_UP.set(1)
        metrics.SENTIMENTS_PENDING.set(pending)
        metrics.SENTIMENTS_UNREADABLE.set(unreadable)
        metrics.SENTIMENTS_PENDING_SECONDS.set(seconds)


def _backlog(connection: Connection) -> Row[int, int, float]:
    return connection.execute(text(review_queue.BACKLOG)).one()


def require_token(request: Request) -> None:
    """Raise UnauthorizedError unless the request has the token of the settings, if they have one."""
    token: str = request.app.state.metrics_token
    given = request.headers.get("Authorization", "").encode("latin-1")
    if token and not secrets.compare_digest(given, f"Bearer {token}".encode()):
        raise UnauthorizedError("/metrics needs METRICS_TOKEN as a bearer token.")


@router.get("/metrics", dependencies=[Depends(require_token)])
async def read_metrics(request: Request) -> Response:
    backlog: Backlog = request.app.state.backlog
    await backlog.refresh(request)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
