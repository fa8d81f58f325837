"""Promotions at one time: real processes on one MLflow store, straight and through a server."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bentos.sentiment.promotion import aliases, history, lock
from bentos.sentiment.promotion.aliases import aliased, number
from bentos.sentiment.promotion.errors import PromotionError
from bentos.sentiment.promotion.history import Plan
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import Registry, copy, serve_registry, wait_for
from tests.bentos.model import register

PROCESSES, CHANGES, VERSIONS = 3, 4, 5


@pytest.fixture(params=["sqlite", "http"])
def store(request: pytest.FixtureRequest, empty_database: Path, tmp_path: Path) -> Iterator[Registry]:
    if request.param == "sqlite":
        yield copy(empty_database, tmp_path)
    else:
        with serve_registry(empty_database, tmp_path / "server") as server:
            yield server


def configured(registry: Registry, seconds: int = 1) -> Settings:
    return Settings().model_copy(update={"tracking_uri": registry.uri, "registry_timeout_seconds": seconds})


def racing(uri: str, seed: int, together: Barrier) -> None:
    """Change the champion some times, as fast as it goes, each time to another version."""
    client = MlflowClient(uri, uri)
    settings = Settings().model_copy(update={"tracking_uri": uri, "registry_timeout_seconds": 10})
    together.wait(120)
    done = 0
    for attempt in range(10_000):
        now = aliased(client)
        target = str((seed + attempt) % VERSIONS + 1)
        if target == number(now["champion"]):
            continue
        try:
            if attempt % 3 == 2 and "previous" in now:
                plan = Plan(number(now["champion"]), number(now["previous"]), f"back {seed}")
                aliases.roll_back(client, plan, settings)
            else:
                aliases.promote(client, Plan(number(now["champion"]), target, f"to {seed}"), settings)
            done += 1
        except PromotionError as error:
            if error.exit_code != 8:
                raise
        if done == CHANGES:
            return


def holding(uri: str, ready: str) -> None:
    """Take the turn, and never end."""
    client = MlflowClient(uri, uri)
    settings = Settings().model_copy(update={"tracking_uri": uri, "registry_timeout_seconds": 1})
    lock.turn(client, Plan("1", "2", "never ends"), settings)
    Path(ready).touch()
    time.sleep(600)


def test_changes_at_one_time_come_one_after_the_other(store: Registry, serving: list[Path]) -> None:
    """Every change began from what the one before it left: none came in between, and none was lost."""
    client = store.client
    for _ in range(VERSIONS):
        register(client, serving[0])
    client.set_registered_model_alias("sentiment", "champion", "1")
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(PROCESSES)
    members = [context.Process(target=racing, args=(store.uri, seed, together)) for seed in range(PROCESSES)]
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


def test_a_killed_holder_keeps_nobody_waiting_for_long(
    store: Registry, serving: list[Path], tmp_path: Path
) -> None:
    client, settings = store.client, configured(store)
    for _ in range(2):
        register(client, serving[0])
    client.set_registered_model_alias("sentiment", "champion", "1")
    ready = tmp_path / "ready"
    context = multiprocessing.get_context("spawn")
    holder = context.Process(target=holding, args=(store.uri, str(ready)))
    holder.start()
    wait_for(ready.exists, "the holder's turn")
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    began = time.monotonic()
    aliases.promote(client, Plan("1", "2", "after the kill"), settings)
    assert time.monotonic() - began < 3 * lock.lease_seconds(settings)
    assert store.aliases() == {"champion": "2", "previous": "1"}
    assert [one.outcome for one in history.entries(client)] == ["promoted", "interrupted"]


def test_a_turn_that_comes_late_is_not_taken(registry: Registry, serving: list[Path]) -> None:
    """It would run out amid the changes; a new ticket has all its time."""
    client, settings = registry.client, configured(registry, 2)
    for _ in range(2):
        register(client, serving[0])
    good_for = lock.lease_seconds(settings) / 2
    history.add(client, Plan("1", "2", "was killed"), history.PENDING, 0.9 * good_for)
    ticket = lock.take(client, Plan("1", "2", "waits"), settings)
    assert not lock.wait(client, ticket, patience=time.monotonic() + 60)
    assert lock.ahead(client, ticket) is None, "it was its turn"
    ticket = lock.take(client, Plan("1", "2", "has no need to wait"), settings)
    history.remove(client, ticket.entry.number - 1)
    assert lock.wait(client, ticket, patience=time.monotonic() + 60)


def test_who_waits_in_vain_is_told_for_whom_and_leaves_nothing(
    registry: Registry, serving: list[Path]
) -> None:
    client = registry.client
    for _ in range(2):
        register(client, serving[0])
    client.set_registered_model_alias("sentiment", "champion", "1")
    held = lock.turn(client, Plan("1", "2", "long"), configured(registry, 60))
    with pytest.raises(PromotionError, match=f"{history.who()} has been promoting version 2 since") as raised:
        aliases.promote(client, Plan("1", "2", ""), configured(registry))
    assert raised.value.exit_code == 7
    assert "240 seconds" in str(raised.value)
    assert [one.number for one in history.pending(client)] == [held.entry.number]
    assert registry.aliases() == {"champion": "1"}


def test_who_is_late_changes_nothing(registry: Registry, serving: list[Path]) -> None:
    """Such as a process that was stopped and goes on after its turn, when another may have it."""
    client, settings = registry.client, configured(registry)
    for _ in range(2):
        register(client, serving[0])
    ticket = lock.turn(client, Plan("", "2", "slow"), settings)
    time.sleep(lock.lease_seconds(settings) / 2 + 0.1)
    with pytest.raises(PromotionError, match="run out") as raised:
        aliases.move(client, "champion", "2", ticket)
    assert raised.value.exit_code == 7
    assert registry.aliases() == {}


def test_a_champion_that_changed_meanwhile_is_not_overrun(registry: Registry, serving: list[Path]) -> None:
    client, settings = registry.client, configured(registry)
    for _ in range(3):
        register(client, serving[0])
    client.set_registered_model_alias("sentiment", "champion", "3")
    for change in (aliases.promote, aliases.roll_back):
        with pytest.raises(PromotionError, match="version 3 is champion now, and was 1") as raised:
            change(client, Plan("1", "2", ""), settings)
        assert raised.value.exit_code == 8
    assert registry.aliases() == {"champion": "3"}
    assert history.entries(client) == []
