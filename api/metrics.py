"""What /metrics tells, of this process alone: Prometheus asks each, and adds up.

prometheus-fastapi-instrumentator does the first two. It takes 80 microseconds a request, where a page of
reviews takes 1,700, since it looks for the route once more than the application does; `Measured` takes a few.
"""

from timeit import default_timer

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_SECONDS = Histogram(
    "api_request_duration_seconds",
    "Requests by the template of their path; status is 2xx, 3xx, 4xx or 5xx",
    ["method", "route", "status"],
    # The promised second is one of them, else nobody could say how many were faster.
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REQUESTS_IN_PROGRESS = Gauge("api_requests_in_progress", "Requests that have not been answered yet")
LIMIT_REFUSALS = Counter("api_limit_refusals", "Requests answered 429: past what a caller may ask", ["kind"])
FIRST_ANSWERS = Counter("api_first_answers", "Reviews sent again with the same Idempotency-Key")

DATABASE_UP = Gauge("database_up", "1 when the database answered /metrics within a second")
DATABASE_REFUSALS = Counter(
    "database_refusals", "Statements that the database or its pool could not serve then", ["error"]
)
POOL_SIZE = Gauge("database_pool_size", "Connections that the pool may hold")
POOL_CHECKED_OUT = Gauge("database_pool_checked_out", "Connections of the pool in use")
POOL_WAITING = Gauge("database_pool_waiting", "Callers that wait for a connection, free or new")

BENTO_SECONDS = Histogram(
    "bento_request_duration_seconds",
    "Requests to the Bento: ok, unavailable (away or busy), slow, nonsense or cancelled",
    ["outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BENTO_TEXTS = Gauge("bento_texts_waiting", "Texts that wait for the Bento or are on their way")
BENTO_BREAKER_OPEN = Gauge("bento_breaker_open", "1 while the Bento is taken to be away, and not asked")

SENTIMENTS_PENDING = Gauge("sentiments_pending", "Reviews that wait for a sentiment, ten thousand at most")
SENTIMENTS_PENDING_SECONDS = Gauge(
    "sentiments_oldest_pending_seconds",
    "Since the text was written of the review that has been without a sentiment for longest",
)
SENTIMENTS_UNREADABLE = Gauge("sentiments_unreadable", "Reviews that the model failed at, to be tried again")
WORKER_STORED = Counter("worker_reviews_stored", "Reviews whose sentiment the worker has found")
WORKER_FAILED = Counter("worker_reviews_failed", "Reviews that the worker found the model to fail at")


class Measured:
    """ASGI middleware: how many requests there are, what came of them, and how long it took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = default_timer()
        status = 500  # of an exception, which is answered outside of us

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with REQUESTS_IN_PROGRESS.track_inprogress():
            try:
                await self._app(scope, receive, note)
            finally:
                # The router leaves it there. What it does not know may be anything, and makes no series.
                route = getattr(scope.get("route"), "path", "none")
                labels = scope["method"] if route != "none" else "any", route, f"{status // 100}xx"
                REQUEST_SECONDS.labels(*labels).observe(default_timer() - began)
