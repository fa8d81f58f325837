"""A running worker follows the registry's champion: loads the new one beside the old one, then swaps."""

import asyncio
import itertools
import logging
import sys
from collections import Counter

from bentos.sentiment import logs, metrics, store
from bentos.sentiment.alias import Alias, Candidate, is_server
from bentos.sentiment.promotion.tally import Tally
from bentos.sentiment.registry import RegistryError
from bentos.sentiment.served import Served
from bentos.sentiment.settings import ROOT, Settings
from bentos.sentiment.store import LocalModel

logger = logging.getLogger("bentoml.sentiment")

TALLY_POLLS = 12
"""The history of promotions is looked at after so many polls, a minute."""

RETRY_POLLS = 12
"""A champion that was refused is tried again after so many polls: a minute, unless settings say otherwise."""


class Follower:
    """Holds what is served. Read `served` once for a batch: a swap replaces it as a whole."""

    def __init__(self, settings: Settings, served: Served) -> None:
        self.served = served
        self._settings = settings
        self._refused: Candidate | None = None
        self._polls_to_wait = 0
        self._reachable = True
        metrics.MODEL_WORKERS.labels(served.model.version).set(1)
        metrics.REGISTRY_REACHABLE.set(1)
        logs.Context.model_version = served.model.version

    async def run(self) -> None:
        """Poll until cancelled."""
        if self._settings.poll_seconds == 0:
            return
        if not is_server(self._settings):
            logger.info(
                "promotions are followed with an MLflow server only; with a database, restart to follow"
            )
            return
        with Alias(self._settings) as alias:
            tally = Tally(alias)
            for poll in itertools.count():
                await asyncio.sleep(self._settings.poll_seconds)
                await self._poll(alias)
                if self._reachable and poll % TALLY_POLLS == 0:
                    await self._count(tally)

    async def _count(self, tally: Tally) -> None:
        """Tell how promotions ended; of one that was refused nobody would hear otherwise."""
        try:
            ended = await asyncio.to_thread(tally.ask)
        except Exception as error:  # whatever is wrong with it, the champion is followed
            logger.warning("the history of promotions cannot be read: %s", error)
            return
        if ended is None:
            return
        for outcome, count in Counter(one.outcome for one in ended).items():
            metrics.PROMOTIONS.labels(outcome).set(count)
            last = max(one.at for one in ended if one.outcome == outcome)
            metrics.PROMOTION_LAST_SECONDS.labels(outcome).set(last)

    async def _poll(self, alias: Alias) -> None:
        try:
            candidate = await asyncio.to_thread(alias.ask)
        except RegistryError as error:
            if self._reachable:  # said once an outage
                logger.warning("%s. Version %s goes on", error, self.served.model.version)
            self._reachable = False
            metrics.REGISTRY_REACHABLE.set(0)
            return
        self._reachable = True
        metrics.REGISTRY_REACHABLE.set(1)
        if candidate.tag == self.served.model.tag:
            self._refused = None
            return
        if candidate == self._refused and self._polls_to_wait > 0:
            self._polls_to_wait -= 1
            return
        try:
            self._swap(await self._prepare(candidate))
        except Exception as error:  # whatever is wrong with the new one, the old one goes on
            self._refuse(candidate, error)

    async def _prepare(self, candidate: Candidate) -> Served:
        """From the registry to warm; no request waits for it. A rollback finds its version in the store."""
        model = await asyncio.to_thread(kept, candidate.tag)
        if model is None:
            model = await asyncio.to_thread(kept, tag := await fetch())
            if model is None:
                raise RegistryError(f"{tag} has gone from the local store")
        return await asyncio.to_thread(Served.load, model, self._settings)

    def _swap(self, new: Served) -> None:
        old, self.served = self.served, new
        store.mark_champion(new.model, self._settings.tracking_uri)
        store.mark_served(new.model, self._settings.tracking_uri)
        metrics.MODEL_WORKERS.labels(old.model.version).set(0)
        metrics.MODEL_WORKERS.labels(new.model.version).set(1)
        metrics.MODEL_SWAPS.inc()
        logs.Context.model_version = new.model.version
        self._refused = None
        logger.info("version %s has taken over from version %s", new.model.version, old.model.version)

    def _refuse(self, candidate: Candidate, error: Exception) -> None:
        if candidate != self._refused:  # said once a version
            logger.error(
                "champion %s is refused (%s). Version %s goes on",
                candidate.version,
                error,
                self.served.model.version,
            )
        metrics.MODEL_REFUSALS.labels(candidate.version).inc()
        self._refused, self._polls_to_wait = candidate, RETRY_POLLS


def kept(tag: str) -> LocalModel | None:
    with store.locked():
        return store.find(tag)


async def fetch() -> str:
    """Bring the champion into the store, in another process, and return its tag. Raises RegistryError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bentos.sentiment.champion"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()  # the worker is being stopped
    if process.returncode:
        raise RegistryError(errors.decode().strip().rpartition("\n")[2])
    return output.decode().split()[-1]
