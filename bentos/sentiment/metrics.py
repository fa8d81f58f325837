"""Metrics on /metrics beyond BentoML's own, aggregated over the workers."""

import contextlib
import os
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.multiprocess import mark_process_dead

MODEL_WORKERS = Gauge(
    "sentiment_model_workers",
    "Workers that serve this version of the model",
    ["model_version"],
    multiprocess_mode="livesum",
)
DEVICE_WORKERS = Gauge(
    "sentiment_device_workers",
    "Workers that run the model on this device: cpu or cuda",
    ["device"],
    multiprocess_mode="livesum",
)
MODEL_SWAPS = Counter("sentiment_model_swaps", "New champions swapped in by a running worker")
MODEL_REFUSALS = Counter(
    "sentiment_model_refusals", "Champions that a worker could not fetch or load", ["model_version"]
)
BATCH_TEXTS = Histogram(
    "sentiment_batch_texts",
    "Texts per inference batch",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
KNOWN_SHARE = Histogram(
    "sentiment_known_share",
    "Share of a text's words that occur in the training reviews; one observation per answered text",
    buckets=(0.25, 0.5, 0.75, 0.9, 0.95, 1),
)
CACHE_HITS = Counter("sentiment_cache_hits", "Texts answered from the cache")
CACHE_MISSES = Counter("sentiment_cache_misses", "Texts that needed inference")
REQUESTS_INSIDE = Gauge(
    "sentiment_requests_inside",
    "Requests in flight",
    multiprocess_mode="livesum",
)
TEXTS_WAITING = Gauge(
    "sentiment_texts_waiting", "Texts queued or being processed", multiprocess_mode="livesum"
)
REGISTRY_REACHABLE = Gauge(
    "sentiment_registry_reachable", "1 if MLflow answered the last poll, else 0", multiprocess_mode="livemin"
)
PROMOTIONS = Gauge(
    "sentiment_promotions",
    "Entries of the promotion history, by outcome: promoted, rolled_back or refused",
    ["outcome"],
    multiprocess_mode="livemostrecent",
)
PROMOTION_LAST_SECONDS = Gauge(
    "sentiment_promotion_last_seconds",
    "Unix time of the latest entry with this outcome, in seconds",
    ["outcome"],
    multiprocess_mode="livemostrecent",
)
REQUESTS_REFUSED = Counter(
    "sentiment_requests_refused",
    "Requests without an answer: 413 too large, 429 overloaded, 499 client disconnected, 504 timeout",
    ["status"],
)


def forget_dead_workers() -> None:
    """Remove the gauges of workers that were killed, which could not do so themselves.

    prometheus_client keeps a file per process and kind: counters and histograms of the dead still count.
    """
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*_*.db")}:
        if not is_alive(pid):
            with contextlib.suppress(FileNotFoundError):  # another worker removes it too
                mark_process_dead(pid)  # type: ignore[no-untyped-call]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
