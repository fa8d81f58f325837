"""/livez and /readyz."""

import asyncpg
import httpx
from alembic.script import ScriptDirectory

from api.routes.health import SCHEMA_REVISION
from tests.api.conftest import Serve
from tests.api.requests import problem
from tests.postgres import ROOT, NewDatabase, migrate, plain


async def test_livez_checks_nothing_else(serve: Serve) -> None:
    async with serve(database_url="postgresql+asyncpg://u@127.0.0.1:1/d") as client:
        response = await client.get("/livez")
    assert response.status_code == 200
    assert response.json() == {"status": "alive"}


async def test_readyz_reports_the_bento_and_does_not_need_it(serve: Serve) -> None:
    async with serve() as client:
        response = await client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "database": "ok", "bento": "unavailable"}
    async with serve(lambda _: httpx.Response(200)) as client:
        assert (await client.get("/readyz")).json()["bento"] == "ok"


async def test_readyz_is_503_without_the_database(serve: Serve) -> None:
    async with serve(database_url="postgresql+asyncpg://u@127.0.0.1:1/d") as client:
        response = await client.get("/readyz")
    problem(response, 503)
    assert int(response.headers["Retry-After"]) > 0


async def test_readyz_is_503_while_the_schema_is_older_than_the_code(
    serve: Serve, new_database: NewDatabase, database_url: str
) -> None:
    (head,) = ScriptDirectory(str(ROOT / "alembic")).get_heads()
    assert head == SCHEMA_REVISION, "a new migration raises SCHEMA_REVISION"
    url = await new_database()
    await migrate(url, "upgrade", "0006")
    async with serve(database_url=url) as client:
        detail = problem(await client.get("/readyz"), 503)["detail"]
        assert "0006" in detail
        assert "alembic upgrade head" in detail
        await migrate(url)
        assert (await client.get("/readyz")).status_code == 200
    connection = await asyncpg.connect(plain(url))
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    async with serve(database_url=url) as client:
        assert (await client.get("/readyz")).status_code == 200, "while a newer release is being rolled out"


async def test_readyz_names_missing_migrations(serve: Serve, new_database: NewDatabase) -> None:
    async with serve(database_url=await new_database()) as client:
        response = await client.get("/readyz")
        assert "alembic upgrade head" in problem(response, 503)["detail"]
        # On other routes a missing table is an internal error, not a transient one.
        problem(await client.get("/api/reviews/tt1"), 500)
