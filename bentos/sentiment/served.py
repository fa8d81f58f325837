"""The model that answers: everything of one version, so that no answer mixes two."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bentos.sentiment import champion, metrics, store
from bentos.sentiment.cache import Cache
from bentos.sentiment.engine import Engine, Verdict
from bentos.sentiment.settings import Settings
from bentos.sentiment.store import LocalModel

logger = logging.getLogger("bentoml.sentiment")


@dataclass(frozen=True, slots=True)
class Served:
    """One version, loaded and warm. Its answers are kept here, and go with it."""

    model: LocalModel
    engine: Engine
    cache: Cache[Verdict]

    @classmethod
    def load(cls, model: LocalModel, settings: Settings) -> Self:
        """Takes about a second. Raises what OpenVINO and the tokenizer raise when a file is nonsense."""
        engine = Engine(model.folder, threads(settings))
        engine.warm_up()
        return cls(model, engine, Cache(settings.cache_texts))

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text, in order. A text that was asked before, or twice now, is computed once."""
        known = {text: kept for text in texts if (kept := self.cache.get(text))}
        new = list(dict.fromkeys(text for text in texts if text not in known))
        metrics.CACHE_HITS.inc(len(texts) - len(new))
        metrics.CACHE_MISSES.inc(len(new))
        if new:
            metrics.BATCH_TEXTS.observe(len(new))
            known.update(zip(new, self.engine.classify(new), strict=True))
            for text in new:
                self.cache.put(text, known[text])
        return [known[text] for text in texts]


def first(settings: Settings) -> Served:
    """The champion that `champion.fetch` remembered, or, if it cannot be loaded, the last that could."""
    model = champion.load(settings)
    try:
        served = Served.load(model, settings)
    except Exception as error:
        last = store.last_served(settings.tracking_uri)
        if last is None or last == model:
            raise
        logger.error(
            "version %s cannot be loaded (%s). Serving version %s", model.version, error, last.version
        )
        metrics.MODEL_REFUSALS.labels(model.version).inc()
        return Served.load(last, settings)
    store.mark_served(model, settings.tracking_uri)
    return served


def threads(settings: Settings) -> int:
    """CPU threads for the engine of one worker; 0 lets OpenVINO choose, which takes every core."""
    if settings.threads or settings.workers == 1:
        return settings.threads
    return max(1, len(os.sched_getaffinity(0)) // settings.workers)
