"""`python -m api.pulse`: the health check of the worker."""

import pytest

from api import pulse, settings
from api.worker import APPLICATION
from tests.api.commands import Done, run_main, run_process
from tests.postgres import connected


async def test_a_connected_worker_is_alive(database_url: str) -> None:
    async with connected(database_url, server_settings={"application_name": APPLICATION}):
        assert run_process("api.pulse", database_url=database_url) == Done(0, "")
    found = await run_main(pulse.main, database_url=database_url)
    assert found == Done(1, "api.pulse: no worker of this host is connected\n")


async def test_only_the_workers_own_statements_count_as_activity(database_url: str) -> None:
    """So the check detects a worker that hangs."""
    config = settings.Settings(database_url=database_url, worker_poll_seconds=0.1)
    async with connected(database_url, server_settings={"application_name": APPLICATION}) as session:
        await session.execute("SELECT 1")
        first = await pulse.idle_seconds(config)
        second = await pulse.idle_seconds(config)
        assert first is not None
        assert second is not None
        assert 0 <= first < second
    assert pulse.max_idle_seconds(config) == pytest.approx(30.2)


async def test_an_unreachable_database_is_reported_in_one_line() -> None:
    found = await run_main(pulse.main, database_url="postgresql+asyncpg://nobody@127.0.0.1:9/x")
    assert found.returncode == 1
    assert found.output.startswith("api.pulse: the database cannot be used")
    assert found.output.count("\n") == 1
