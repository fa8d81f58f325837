import os
import subprocess
import sys

import pytest

from api import pulse as module
from api import settings
from api.worker import APPLICATION
from tests.postgres import ROOT, connected


def pulse(database_url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api.pulse"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url, "DATABASE_DIRECT_URL": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_a_worker_at_its_database_has_a_pulse(database_url: str) -> None:
    async with connected(database_url, server_settings={"application_name": APPLICATION}):
        found = pulse(database_url)
    assert (found.returncode, found.stderr) == (0, "")
    found = pulse(database_url)
    assert (found.returncode, found.stderr) == (1, "api.pulse: no worker of this host is connected\n")


async def test_one_that_does_nothing_grows_idle(database_url: str) -> None:
    """So a worker that hangs is found out: nothing but its own statements counts."""
    config = settings.Settings(database_url=database_url, worker_poll_seconds=0.1)
    async with connected(database_url, server_settings={"application_name": APPLICATION}) as session:
        await session.execute("SELECT 1")
        first = await module.idle_seconds(config)
        second = await module.idle_seconds(config)
        assert first is not None
        assert second is not None
        assert 0 <= first < second
    assert module.patience(config) == pytest.approx(30.2)


def test_a_database_that_is_away_is_said_in_a_line() -> None:
    found = pulse("postgresql+asyncpg://nobody@127.0.0.1:9/x")
    assert found.returncode == 1
    assert found.stderr.startswith("api.pulse: the database cannot be used")
