"""A model in memory, ready to classify texts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bentos.sentiment import metrics
from bentos.sentiment.cache import Cache
from bentos.sentiment.champion import files, golden, store
from bentos.sentiment.champion.store import StoredModel
from bentos.sentiment.cores import usable_cores
from bentos.sentiment.engine import Engine, Prediction
from bentos.sentiment.registry import RegistryError
from bentos.sentiment.settings import Settings

logger = logging.getLogger("bentoml.sentiment")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One version with its engine and cache. They are replaced together, so no answer mixes two versions."""

    stored: StoredModel
    engine: Engine
    cache: Cache[Prediction]

    @classmethod
    def load(cls, stored: StoredModel, settings: Settings) -> Self:
        """Load and warm up, in about a second. Raises whatever OpenVINO or the tokenizer raise.

        Raises RegistryError if a golden text gets another answer than when the version was registered.
        """
        engine = Engine(stored.folder, engine_threads(settings))
        engine.warm_up()
        for wrong in golden.objections(engine, stored.golden):
            raise RegistryError(f"it answers otherwise than when it was registered: {wrong}")
        return cls(stored, engine, Cache(settings.cache_texts))

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Return one prediction per text, in order. Cached and duplicate texts are not computed again."""
        known = {text: cached for text in texts if (cached := self.cache.get(text))}
        new = list(dict.fromkeys(text for text in texts if text not in known))
        metrics.CACHE_HITS.inc(len(texts) - len(new))
        metrics.CACHE_MISSES.inc(len(new))
        if new:
            metrics.BATCH_TEXTS.observe(len(new))
            known.update(zip(new, self.engine.classify(new), strict=True))
            for text in new:
                self.cache.put(text, known[text])
        answers = [known[text] for text in texts]
        for answer in answers:
            if answer.known_share is not None:
                metrics.KNOWN_SHARE.observe(answer.known_share)
        return answers


def load_at_start(settings: Settings) -> LoadedModel:
    """Load the champion that `files.fetch` stored, or the last one that could be loaded if it cannot."""
    stored = files.fetched(settings)
    try:
        loaded = LoadedModel.load(stored, settings)
    except Exception as error:
        last = store.last_served(settings.tracking_uri)
        if last is None or last == stored:
            raise
        logger.error(
            "version %s cannot be loaded (%s). Serving version %s", stored.version, error, last.version
        )
        metrics.MODEL_REFUSALS.labels(stored.version).inc()
        return LoadedModel.load(last, settings)
    store.mark_served(stored, settings.tracking_uri)
    return loaded


def engine_threads(settings: Settings) -> int:
    """Return the number of inference threads per worker; 0 lets OpenVINO use every core."""
    if settings.threads or settings.workers == 1:
        return settings.threads
    return max(1, usable_cores() // settings.workers)
