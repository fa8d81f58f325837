"""Watches the registry for a new champion and swaps it in without interrupting requests."""

import asyncio
import itertools
import logging
import sys
from collections import Counter

from bentos.sentiment import logs, metrics
from bentos.sentiment.champion import store
from bentos.sentiment.champion.loaded import LoadedModel
from bentos.sentiment.champion.store import StoredModel
from bentos.sentiment.promotion.history_rest import RestHistory
from bentos.sentiment.registry import NoChampionError, RegistryError, too_slow
from bentos.sentiment.registry_rest import ChampionVersion, RestClient, is_server
from bentos.sentiment.settings import ROOT, Settings

logger = logging.getLogger("bentoml.sentiment")

HISTORY_POLLS = 12
"""The promotion history is read every 12 polls, once a minute by default."""

RETRY_POLLS = 12
"""A rejected champion is tried again after 12 polls, a minute by default."""


class ChampionWatcher:
    """Holds the model that is served. Read `current` once per batch: a swap replaces it."""

    def __init__(self, settings: Settings, loaded: LoadedModel) -> None:
        self.current = loaded
        self._settings = settings
        self._rejected: ChampionVersion | None = None
        self._polls_to_retry = 0
        self._reachable = True
        self._failure: type[RegistryError] | None = None
        count(loaded, 1)
        metrics.REGISTRY_REACHABLE.set(1)
        logs.Context.model_version = loaded.stored.version

    async def run(self) -> None:
        """Poll the registry until cancelled."""
        if self._settings.poll_seconds == 0:
            return
        if not is_server(self._settings):
            logger.info("MLFLOW_TRACKING_URI is a database, which is not polled: restart after a promotion")
            return
        with RestClient(self._settings) as client:
            history = RestHistory(client)
            for poll in itertools.count():
                await asyncio.sleep(self._settings.poll_seconds)
                await self._poll(client)
                if self._reachable and poll % HISTORY_POLLS == 0:
                    await self._count_promotions(history)

    async def _count_promotions(self, history: RestHistory) -> None:
        """Export the promotion history as metrics: `promote` ends before Prometheus could scrape it."""
        try:
            finished = await asyncio.to_thread(history.finished)
        except Exception as error:  # a failure here must not stop the polling
            logger.warning("cannot read the promotion history: %s", error)
            return
        if finished is None:
            return
        for outcome, count in Counter(one.outcome for one in finished).items():
            metrics.PROMOTIONS.labels(outcome).set(count)
            last = max(one.at for one in finished if one.outcome == outcome)
            metrics.PROMOTION_LAST_SECONDS.labels(outcome).set(last)

    async def _poll(self, client: RestClient) -> None:
        try:
            champion = await asyncio.to_thread(client.champion)
        except RegistryError as error:
            self._remember(error, reachable=isinstance(error, NoChampionError))
            return
        self._remember(None, reachable=True)
        if champion.tag == self.current.stored.tag:
            self._rejected = None
            return
        if champion == self._rejected and self._polls_to_retry > 0:
            self._polls_to_retry -= 1
            return
        try:
            await self._swap(await self._load(champion))
        except Exception as error:  # whatever fails, the current model stays
            self._reject(champion, error)

    def _remember(self, error: RegistryError | None, *, reachable: bool) -> None:
        """Export whether the registry answers, which it also does if no version is champion."""
        if error and type(error) is not self._failure:  # one log line per outage
            logger.warning("%s. Still serving version %s", error, self.current.stored.version)
        self._failure = type(error) if error else None
        self._reachable = reachable
        metrics.REGISTRY_REACHABLE.set(reachable)

    async def _load(self, champion: ChampionVersion) -> LoadedModel:
        """Fetch, load and warm up while requests go on. After a rollback the version is in the store."""
        model = await asyncio.to_thread(find, champion.tag)
        if model is None:
            model = await asyncio.to_thread(find, tag := await fetch(self._settings))
            if model is None:
                raise RegistryError(f"{tag} was removed from the local store")
        return await asyncio.to_thread(LoadedModel.load, model, self._settings)

    async def _swap(self, new: LoadedModel) -> None:
        """Serve the new model. Raises RegistryError, and swaps nothing, if the store cannot record it."""
        # In a thread, because the store's lock is held for as long as a download takes.
        await asyncio.to_thread(mark, new.stored, self._settings.tracking_uri)
        old, retired = self.current.stored, [self.current]
        count(self.current, 0)
        self.current = new
        count(new, 1)
        metrics.MODEL_SWAPS.inc()
        logs.Context.model_version = new.stored.version
        self._rejected = None
        logger.info("version %s has replaced version %s", new.stored.version, old.version)
        # Freeing a model takes a tenth of a second, in which the event loop would answer nobody. This list
        # has the last reference to it, unless a batch still runs on it in a thread of its own.
        await asyncio.to_thread(retired.clear)

    def _reject(self, champion: ChampionVersion, error: Exception) -> None:
        if champion != self._rejected:  # one log line per version
            logger.error(
                "champion %s is rejected (%s). Still serving version %s",
                champion.version,
                error,
                self.current.stored.version,
            )
        metrics.MODEL_REFUSALS.labels(champion.version).inc()
        self._rejected, self._polls_to_retry = champion, RETRY_POLLS


def count(model: LoadedModel, workers: int) -> None:
    """Export whether this worker serves the model, and its device."""
    metrics.MODEL_WORKERS.labels(model.stored.version).set(workers)
    metrics.DEVICE_WORKERS.labels(model.engine.device).set(workers)


def find(tag: str) -> StoredModel | None:
    with store.locked():
        return store.find(tag)


def mark(model: StoredModel, tracking_uri: str) -> None:
    store.mark_champion(model, tracking_uri)
    store.mark_served(model, tracking_uri)


async def fetch(settings: Settings) -> str:
    """Store the champion in a child process, and return its tag. Raises RegistryError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bentos.sentiment.champion"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(settings.fetch_seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise too_slow(settings) from None
    finally:
        if process.returncode is None:
            process.kill()  # which releases the store's lock
    if process.returncode:
        raise RegistryError(errors.decode().strip().rpartition("\n")[2])
    return output.decode().split()[-1]
