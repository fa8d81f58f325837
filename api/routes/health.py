"""Liveness and readiness checks for supervisors and load balancers."""

from typing import Literal

from fastapi import APIRouter, Request
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from api import errors
from api.bento.client import BentoDep
from api.database import StatementError, autocommit

router = APIRouter(tags=["health"])

SCHEMA_REVISION = "0008"
"""The oldest revision of alembic/versions that this code works with; revisions sort as text."""

UNDEFINED_TABLE = "42P01"
"""The SQLSTATE of a statement about a table that does not exist."""


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
async def readyz(request: Request, bento: BentoDep) -> Ready:
    try:
        revision = await autocommit(request, _schema_revision)
    except StatementError as error:
        if error.sqlstate != UNDEFINED_TABLE:
            raise
        raise errors.UnavailableError("The database has no tables: run `alembic upgrade head`.") from error
    # A newer schema is right: migrations run before the new code starts, and the old code works with both.
    if revision is None or revision < SCHEMA_REVISION:
        raise errors.UnavailableError(
            f"The database has the schema {revision}, not {SCHEMA_REVISION}: run `alembic upgrade head`."
        )
    return Ready(bento="ok" if await bento.is_ready() else "unavailable")


def _schema_revision(connection: Connection) -> str | None:
    return connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar()
