"""Liveness and readiness checks for supervisors and load balancers."""

from typing import Literal

from fastapi import APIRouter
from sqlalchemy.exc import ProgrammingError
from sqlmodel import SQLModel, col, select

from api import errors
from api.bento.client import BentoDep
from api.database import SessionDep
from api.reviews import Review

router = APIRouter(tags=["health"])


class Alive(SQLModel):
    status: Literal["alive"] = "alive"


class Ready(SQLModel):
    """The database answers. Without the Bento the API is ready too: only /api/analyze is 503."""

    status: Literal["ready"] = "ready"
    database: Literal["ok"] = "ok"
    bento: Literal["ok", "unavailable"]


@router.get("/livez")
async def livez() -> Alive:
    """Return 200 if the process runs; checks nothing else."""
    return Alive()


@router.get("/readyz", responses=errors.responses(503))
async def readyz(session: SessionDep, bento: BentoDep) -> Ready:
    # First, because the session takes a connection only at its first statement.
    bento_is_ready = await bento.is_ready()
    try:
        await session.exec(select(col(Review.id)).limit(1))
    except ProgrammingError as error:
        raise errors.UnavailableError("The database has no tables: run `alembic upgrade head`.") from error
    return Ready(bento="ok" if bento_is_ready else "unavailable")
