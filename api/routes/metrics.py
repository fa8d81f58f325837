"""What Prometheus asks. Who is not to read it is kept away by the proxy."""

import asyncio
import math
import time

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from api import metrics, review_queue
from api.database import at_once
from api.errors import UnavailableError

router = APIRouter(include_in_schema=False)

DATABASE_SECONDS = 1.0
"""For the one statement: a database that takes longer must not keep the other figures back."""
KEPT_SECONDS = 5.0
"""However often /metrics is asked."""


class Backlog:
    """The reviews that wait for their sentiment. The API tells, because a worker may be what is missing."""

    def __init__(self) -> None:
        self._asked = -math.inf

    async def refresh(self, request: Request) -> None:
        if time.monotonic() - self._asked < KEPT_SECONDS:
            return
        self._asked = time.monotonic()
        pending = unreadable = seconds = math.nan
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                row = await at_once(request, _backlog)
            pending, unreadable, seconds = row
        except (TimeoutError, UnavailableError, DBAPIError):
            metrics.DATABASE_UP.set(0)
        else:
            metrics.DATABASE_UP.set(1)
        metrics.SENTIMENTS_PENDING.set(pending)
        metrics.SENTIMENTS_UNREADABLE.set(unreadable)
        metrics.SENTIMENTS_PENDING_SECONDS.set(seconds)


def _backlog(connection: Connection) -> Row[int, int, float]:
    return connection.execute(text(review_queue.BACKLOG)).one()


@router.get("/metrics")
async def read_metrics(request: Request) -> Response:
    backlog: Backlog = request.app.state.backlog
    await backlog.refresh(request)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
