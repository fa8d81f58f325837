"""Concurrent promotions: real processes on one MLflow store, directly and through a server."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bentos.sentiment.promotion import aliases, history, lock
from bentos.sentiment.promotion.errors import PromotionError
from bentos.sentiment.promotion.history import Plan
from tests.bentos.conftest import Registry, copy, wait_for
from tests.bentos.promoters import CHANGES, VERSIONS, configured, forkserver, hold, race
from tests.bentos.registration import register

PROCESSES = 3


@pytest.fixture(params=["sqlite", "http"])
def store(request: pytest.FixtureRequest, empty_database: Path, tmp_path: Path) -> Registry:
    if request.param == "sqlite":
        return copy(empty_database, tmp_path)
    server: Registry = request.getfixturevalue("mlflow_server")
    return server


def test_concurrent_changes_are_serialized(store: Registry, serving: list[Path]) -> None:
    """Every change starts from the state that the previous one left, and none is lost."""
    client = store.client
    for _ in range(VERSIONS):
        register(client, serving[0])
    client.set_registered_model_alias("sentiment", "champion", "1")
    context = forkserver()
    start = context.Barrier(PROCESSES)
    members = [context.Process(target=race, args=(store.uri, seed, start)) for seed in range(PROCESSES)]
    for member in members:
        member.start()
    for member in members:
        member.join(300)
    assert [member.exitcode for member in members] == [0] * PROCESSES
    entries = history.entries(client)[::-1]
    assert len(entries) == PROCESSES * CHANGES
    assert {one.outcome for one in entries} == {"promoted", "rolled_back"}
    champion = "1"
    for one in entries:
        assert one.before == champion
        champion = one.after
    last = entries[-1]
    assert store.aliases() == {"champion": last.after, "previous": last.before}


def test_the_lock_of_a_killed_process_expires(store: Registry, serving: list[Path], tmp_path: Path) -> None:
    """Waiters wait for the lease of the killed process, 4 seconds, not for their own, 40 seconds."""
    client, settings = store.client, configured(store.uri, 10)
    for _ in range(2):
        register(client, serving[0])
    client.set_registered_model_alias("sentiment", "champion", "1")
    acquired = tmp_path / "acquired"
    killed = forkserver().Process(target=hold, args=(store.uri, str(acquired)))
    killed.start()
    wait_for(acquired.exists, "the lock")
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    started = time.monotonic()
    aliases.promote(client, Plan("1", "2", "after the kill"), settings)
    assert time.monotonic() - started < lock.lease_seconds(settings)
    assert store.aliases() == {"champion": "2", "previous": "1"}
    assert [one.outcome for one in history.entries(client)] == ["promoted", "interrupted"]


def test_a_lock_that_comes_late_in_the_lease_is_not_used(registry: Registry, serving: list[Path]) -> None:
    """It would expire between the changes; a new ticket has its whole lease."""
    client, settings = registry.client, configured(registry.uri, 10)
    for _ in range(2):
        register(client, serving[0])
    killed = history.add(client, Plan("1", "2", "was killed"), history.PENDING, lease_seconds=18)
    ticket = lock.take_ticket(client, Plan("1", "2", "waits"), settings)
    # As if the ticket had waited until 2 seconds before the end of the other one's lease.
    waiting = 18 - 2 - (ticket.entry.at - killed.at).total_seconds()
    waited = replace(ticket, created=ticket.created - waiting, expires=ticket.expires - waiting)
    assert not lock.wait(client, waited, deadline=time.monotonic() + 60)
    assert lock.holder(client, waited) is None, "the lock was free"
    ticket = lock.take_ticket(client, Plan("1", "2", "does not wait"), settings)
    for number in (killed.number, waited.entry.number):
        history.remove(client, number)
    assert lock.wait(client, ticket, deadline=time.monotonic() + 60)


def test_a_timeout_names_the_holder_and_leaves_nothing(registry: Registry, serving: list[Path]) -> None:
    client = registry.client
    for _ in range(2):
        register(client, serving[0])
    client.set_registered_model_alias("sentiment", "champion", "1")
    held = lock.acquire(client, Plan("1", "2", "long"), configured(registry.uri, 60))
    expected = rf"{history.who()} has held the lock since .* to promote version 2"
    with pytest.raises(PromotionError, match=expected) as raised:
        aliases.promote(client, Plan("1", "2", ""), configured(registry.uri, 0.25))
    assert raised.value.exit_code == 7
    assert "240 seconds" in str(raised.value)
    assert [one.number for one in history.pending(client)] == [held.entry.number]
    assert registry.aliases() == {"champion": "1"}


def test_an_expired_lock_changes_nothing(registry: Registry, serving: list[Path]) -> None:
    """For example a process that was suspended, and resumes when another one may hold the lock."""
    client, settings = registry.client, configured(registry.uri, 0.5)
    for _ in range(2):
        register(client, serving[0])
    ticket = lock.acquire(client, Plan("", "2", "slow"), settings)
    time.sleep(max(0, ticket.expires - time.monotonic()) + 0.1)
    with pytest.raises(PromotionError, match="expired") as raised:
        aliases.set_alias(client, "champion", "2", ticket)
    assert raised.value.exit_code == 7
    assert registry.aliases() == {}


def test_a_change_of_the_champion_is_a_conflict(registry: Registry, serving: list[Path]) -> None:
    client, settings = registry.client, configured(registry.uri, 10)
    for _ in range(3):
        register(client, serving[0])
    client.set_registered_model_alias("sentiment", "champion", "3")
    for change in (aliases.promote, aliases.roll_back):
        with pytest.raises(PromotionError, match="changed from version 1 to version 3") as raised:
            change(client, Plan("1", "2", ""), settings)
        assert raised.value.exit_code == 8
    assert registry.aliases() == {"champion": "3"}
    assert history.entries(client) == []
