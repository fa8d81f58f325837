"""Prometheus metrics of this process; Prometheus scrapes each process and aggregates.

`RequestMetrics` replaces prometheus-fastapi-instrumentator, which matches the route a second time: that takes
80 microseconds per request, where a page of reviews takes 1,700.
"""

from timeit import default_timer

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_SECONDS = Histogram(
    "api_request_duration_seconds",
    "Duration of requests by route template; status is 2xx, 3xx, 4xx or 5xx",
    ["method", "route", "status"],
    # Includes the promised latency of one second.
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REQUESTS_IN_PROGRESS = Gauge("api_requests_in_progress", "In-flight requests")
LIMIT_REFUSALS = Counter("api_limit_refusals", "Requests rejected with 429 by a rate limit", ["kind"])
FIRST_ANSWERS = Counter("api_first_answers", "Repeated POSTs answered from their Idempotency-Key")

DATABASE_UP = Gauge("database_up", "1 if the database answered a query of /metrics within a second")
DATABASE_REFUSALS = Counter(
    "database_refusals",
    "Statements that failed with a transient error of database or pool",
    ["error"],
)
POOL_SIZE = Gauge("database_pool_size", "Maximum number of connections in the pool")
POOL_CHECKED_OUT = Gauge("database_pool_checked_out", "Connections in use")
POOL_WAITING = Gauge("database_pool_waiting", "Callers waiting for a connection")

BENTO_SECONDS = Histogram(
    "bento_request_duration_seconds",
    "Duration of requests to the Bento; outcome is ok, unavailable, slow, nonsense (invalid) or cancelled",
    ["outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BENTO_TEXTS = Gauge("bento_texts_waiting", "Texts queued for the Bento or in flight")
BENTO_BREAKER_OPEN = Gauge("bento_breaker_open", "1 while the circuit breaker is open")

SENTIMENTS_PENDING = Gauge("sentiments_pending", "Reviews that have no sentiment yet, at most 10,000")
SENTIMENTS_PENDING_SECONDS = Gauge(
    "sentiments_oldest_pending_seconds",
    "Age of the oldest text without a sentiment",
)
SENTIMENTS_UNREADABLE = Gauge("sentiments_unreadable", "Reviews to retry, which the model could not analyse")
WORKER_STORED = Counter("worker_reviews_stored", "Reviews analysed by this worker")
WORKER_FAILED = Counter("worker_reviews_failed", "Reviews that the model could not analyse for this worker")


class RequestMetrics:
    """ASGI middleware that counts and times requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = default_timer()
        status = 500  # of an exception, which is handled outside of this middleware

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with REQUESTS_IN_PROGRESS.track_inprogress():
            try:
                await self._app(scope, receive, record_status)
            finally:
                # Set by the router. Unknown paths share one series, because clients choose them freely.
                route = getattr(scope.get("route"), "path", "none")
                labels = scope["method"] if route != "none" else "any", route, f"{status // 100}xx"
                REQUEST_SECONDS.labels(*labels).observe(default_timer() - began)
