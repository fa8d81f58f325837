"""What a supervisor or a load balancer asks."""

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
    """Reviews can be served. Without the Bento they still can: only analysing is 503."""

    status: Literal["ready"] = "ready"
    database: Literal["ok"] = "ok"
    bento: Literal["ok", "unavailable"]


@router.get("/livez")
async def livez() -> Alive:
    """The process runs; nothing else is asked."""
    return Alive()


@router.get("/readyz", responses=errors.responses(503))
async def readyz(session: SessionDep, bento: BentoDep) -> Ready:
    # First, while the session holds no connection yet.
    bento_is_ready = await bento.is_ready()
    try:
        await session.exec(select(col(Review.id)).limit(1))
    except ProgrammingError as error:
        raise errors.UnavailableError("The database has no tables: run `alembic upgrade head`.") from error
    return Ready(bento="ok" if bento_is_ready else "unavailable")
