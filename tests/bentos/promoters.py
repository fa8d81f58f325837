"""Processes that promote concurrently. Imports little, because a forkserver imports this module once."""

import multiprocessing
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path

from mlflow import MlflowClient

from bentos.sentiment.promotion import aliases, lock
from bentos.sentiment.promotion.aliases import aliased, number
from bentos.sentiment.promotion.errors import PromotionError
from bentos.sentiment.promotion.history import Plan
from bentos.sentiment.settings import Settings

CHANGES = 3
VERSIONS = 5


def forkserver() -> ForkServerContext:
    """Start processes as forks of one that has imported this module, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def configured(uri: str, timeout_seconds: float) -> Settings:
    """Return settings whose lock has a lease of four timeouts."""
    return Settings().model_copy(update={"tracking_uri": uri, "registry_timeout_seconds": timeout_seconds})


def race(uri: str, seed: int, start: Barrier) -> None:
    """Promote, roll back and promote again, CHANGES changes in all, as fast as possible."""
    client, settings = MlflowClient(uri, uri), configured(uri, 10)
    start.wait(120)
    done = 0
    for attempt in range(10_000):
        now = aliased(client)
        target = str((seed + attempt) % VERSIONS + 1)
        if target == number(now["champion"]):
            continue
        try:
            if done == 1:  # its own first change has set the alias `previous`
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


def hold(uri: str, acquired: str) -> None:
    """Acquire the lock, create the file `acquired`, and never release the lock."""
    lock.acquire(MlflowClient(uri, uri), Plan("1", "2", "never ends"), configured(uri, 1))
    Path(acquired).touch()
    time.sleep(600)
