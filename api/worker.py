"""`python -m api.worker`: analyse new and edited reviews."""

import argparse
import asyncio
import logging
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain
from uuid import uuid4

import asyncpg
import stamina
from asgi_correlation_id import correlation_id
from opentelemetry import trace
from prometheus_client import start_http_server

from api import logs, metrics, review_queue, settings
from api.bento.client import MAX_TEXTS, BentoClient
from api.bento.transport import direct_transport
from api.cleanup import Cleanup
from api.database import DATABASE_ERRORS, connect, describe
from api.errors import ApiError, BadGatewayError, GatewayTimeoutError, UnavailableError
from api.review_queue import ClaimedReview
from api.sentiments import Analysis, SentimentError

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

DESCRIPTION = "Analyse new and edited reviews. Any number of workers may run at the same time."

APPLICATION = "movie-review-worker"
LONGEST_PAUSE = 5.0
"""Maximum seconds between two attempts while the Bento or the database is unavailable."""

LONGEST_DELAY = timedelta(hours=1)
"""Maximum delay of a review that the model cannot analyse."""


class Worker:
    """Analyses reviews over one connection, which also listens for NOTIFY."""

    def __init__(self, config: settings.Settings, bento: BentoClient) -> None:
        self._config, self._bento = config, bento
        self._connection: asyncpg.Connection | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._cleanup = Cleanup()
        self._lease = timedelta(seconds=config.worker_lease_seconds)
        # Halved when the Bento takes too long for a batch, and grows slowly: each timeout costs seconds.
        self._batch_size = MAX_TEXTS

    async def run(self) -> None:
        """Work until `stop` is called, and finish the current request to the Bento."""
        try:
            while not self._stopping:
                # A new context each time, so that the backoff starts again after each success.
                async for attempt in stamina.retry_context(
                    on=UnavailableError,
                    attempts=None,
                    timeout=None,
                    wait_initial=0.2,
                    wait_max=LONGEST_PAUSE,
                ):
                    with attempt:
                        if not self._stopping:
                            await self._step()
        finally:
            self._disconnect()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def _step(self) -> None:
        with self._database_errors():
            await self._work(await self._connected())

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        """Disconnect and raise UnavailableError, whose message may be in logs and traces."""
        try:
            yield
        except DATABASE_ERRORS as error:
            self._disconnect()
            raise UnavailableError(describe(error)) from None

    async def _work(self, connection: asyncpg.Connection) -> None:
        """Analyse one batch of pending reviews, or wait for one."""
        self._wake.clear()
        await self._cleanup.run_if_due(connection)
        claimed = await review_queue.claim(connection, self._batch_size, self._lease)
        if not claimed:
            seconds = min(self._config.worker_poll_seconds, self._cleanup.seconds_left)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)
            return
        correlation_id.set(uuid4().hex)  # for the requests to the Bento and their log lines
        with (
            tracer.start_as_current_span("analyze reviews", attributes={"reviews": len(claimed)}),
            self._database_errors(),
        ):
            await self._process(connection, claimed)

    async def _process(self, connection: asyncpg.Connection, claimed: list[ClaimedReview]) -> None:
        """Analyse claimed reviews and store the results.

        Reviews on which the Bento fails or takes too long are halved until a review has failed alone. The
        results of each part are stored at once, and the lease of the others is renewed.
        """
        waiting = [claimed]
        while waiting and not self._stopping:
            part = waiting.pop()
            try:
                results = await self._bento.classify([review.text for review in part])
            except (BadGatewayError, GatewayTimeoutError) as error:
                if isinstance(error, GatewayTimeoutError):
                    self._batch_size = min(self._batch_size, max(1, len(part) // 2))
                if len(part) == 1:
                    await _store(connection, part, [SentimentError(error=error.detail)])
                else:
                    middle = len(part) // 2
                    waiting += part[middle:], part[:middle]
            except UnavailableError:
                await review_queue.release(connection, [*part, *chain(*waiting)])
                raise
            else:
                self._batch_size = min(self._batch_size + 1, MAX_TEXTS)
                await _store(connection, part, results)
            await review_queue.renew(connection, list(chain(*waiting)), self._lease)
        await review_queue.release(connection, list(chain(*waiting)))

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._config, APPLICATION)
            await self._connection.add_listener(review_queue.CHANNEL, lambda *_: self._wake.set())
            self._connection.add_termination_listener(lambda _: self._wake.set())
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def _store(
    connection: asyncpg.Connection,
    reviews: Sequence[ClaimedReview],
    results: Sequence[Analysis | SentimentError],
) -> None:
    """Store the sentiments, and postpone the reviews that could not be analysed."""
    pairs = list(zip(reviews, results, strict=True))
    stored = [(review, result) for review, result in pairs if isinstance(result, Analysis)]
    failed = [(review, result) for review, result in pairs if isinstance(result, SentimentError)]
    if stored:
        await review_queue.store(connection, stored)
        logs.model_version.set(stored[0][1].model_version)
        log.info("%d reviews analysed", len(stored))
    for review, error in failed:
        log.warning("review %s cannot be analysed: %s", review.id, error.error)
    if failed:
        delays = [(review, retry_delay(review.attempts)) for review, _ in failed]
        await review_queue.postpone(connection, delays)
    metrics.WORKER_STORED.inc(len(stored))
    metrics.WORKER_FAILED.inc(len(failed))


def retry_delay(attempts: int) -> timedelta:
    """Exponential backoff from 5 seconds to LONGEST_DELAY, with jitter."""
    longest = min(timedelta(seconds=5) * 2 ** min(attempts, 20), LONGEST_DELAY)
    return timedelta(seconds=longest.total_seconds() * random.uniform(0.5, 1))  # noqa: S311


async def work(config: settings.Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    if config.worker_metrics_port:
        serve_metrics(config)
    transport = direct_transport()
    if config.otel_exporter_otlp_endpoint:
        from api import tracing

        tracing.send_spans(config, "worker")
        transport = tracing.traced(direct_transport())
    bento = BentoClient(config, transport)
    worker = Worker(config, bento)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    log.info("waiting for reviews")
    try:
        await worker.run()
    finally:
        await bento.aclose()


def serve_metrics(config: settings.Settings) -> None:
    """Serve /metrics from a thread. Raises SystemExit if the port cannot be used."""
    host, port = config.worker_metrics_host, config.worker_metrics_port
    try:
        start_http_server(port, host)
    except OSError as error:
        raise SystemExit(
            f"api.worker: WORKER_METRICS_HOST={host} and WORKER_METRICS_PORT={port} cannot be used"
            f" ({error}): choose another port, or 0 for no metrics"
        ) from None


async def rescore(config: settings.Settings) -> str:
    """Queue the reviews analysed by another model version and return a message with their number.

    Raises ApiError and DATABASE_ERRORS.
    """
    bento = BentoClient(config)
    try:
        (answer,) = await bento.classify(["Fine."])
    finally:
        await bento.aclose()
    if isinstance(answer, SentimentError):
        raise UnavailableError(f"The sentiment model cannot analyse a test sentence: {answer.error}")
    connection = await connect(config, APPLICATION)
    try:
        count = await review_queue.rescore(connection, answer.model_version)
    finally:
        await connection.close()
    return f"{count} reviews are queued for version {answer.model_version}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api.worker", description=DESCRIPTION)
    parser.add_argument(
        "--rescore",
        action="store_true",
        help="queue all reviews whose sentiment is not from the model version served now, and exit",
    )
    options = parser.parse_args()
    config = settings.load()
    if config.log_format == "json":
        logs.write_json("worker")
    else:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
    if not options.rescore:
        return asyncio.run(work(config))
    try:
        print(asyncio.run(rescore(config)))
    except ApiError as error:
        raise SystemExit(f"api.worker: {error.detail} Is the Bento up at BENTO_URL?") from None
    except DATABASE_ERRORS as error:
        where = "DATABASE_DIRECT_URL" if config.database_direct_url else "DATABASE_URL"
        reason = describe(error)
        raise SystemExit(f"api.worker: the database cannot be used ({reason}): see {where}") from None
    return None


if __name__ == "__main__":
    main()
