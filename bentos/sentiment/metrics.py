"""What /metrics tells beyond BentoML's own; of several workers it gives the sum."""

from prometheus_client import Counter, Gauge, Histogram

MODEL_WORKERS = Gauge(
    "sentiment_model_workers",
    "Workers that serve this version of the model",
    ["model_version"],
    multiprocess_mode="livesum",
)
MODEL_SWAPS = Counter("sentiment_model_swaps", "Champions that took over in a running worker")
MODEL_REFUSALS = Counter(
    "sentiment_model_refusals", "Champions that a worker could not fetch or load", ["model_version"]
)
BATCH_TEXTS = Histogram(
    "sentiment_batch_texts",
    "Texts that went through the model together",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
CACHE_HITS = Counter("sentiment_cache_hits", "Texts answered without the model")
CACHE_MISSES = Counter("sentiment_cache_misses", "Texts that went through the model")
REQUESTS_INSIDE = Gauge(
    "sentiment_requests_inside",
    "Requests that were let in and are not answered yet",
    multiprocess_mode="livesum",
)
TEXTS_WAITING = Gauge(
    "sentiment_texts_waiting", "Texts that wait for the model or are in it", multiprocess_mode="livesum"
)
REGISTRY_REACHABLE = Gauge(
    "sentiment_registry_reachable", "0 when MLflow did not answer the last time", multiprocess_mode="livemin"
)
PROMOTIONS = Gauge(
    "sentiment_promotions",
    "Entries of the promotions' history: promoted, rolled_back or refused",
    ["outcome"],
    multiprocess_mode="livemostrecent",
)
PROMOTION_LAST_SECONDS = Gauge(
    "sentiment_promotion_last_seconds",
    "When the last of them was, in seconds since 1970",
    ["outcome"],
    multiprocess_mode="livemostrecent",
)
REQUESTS_REFUSED = Counter(
    "sentiment_requests_refused",
    "Requests that got no answer of the model: 413 too large, 429 busy, 499 client gone, 504 too slow",
    ["status"],
)
