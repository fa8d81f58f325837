"""`python -m api.worker`: finds the sentiment of new and edited reviews. As many as you like may run.

With `--rescore` it makes every review due whose sentiment is not of the model that is served now, and ends.
"""

import argparse
import asyncio
import logging
import random
import signal
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import asyncpg
import stamina
from asgi_correlation_id import correlation_id
from opentelemetry import trace
from prometheus_client import start_http_server

from api import limits, logs, metrics, review_queue, settings
from api.bento.client import MAX_TEXTS, BentoClient
from api.bento.transport import direct_transport
from api.database import DATABASE_ERRORS, connect
from api.errors import BadGatewayError, GatewayTimeoutError, UnavailableError
from api.review_queue import PendingReview
from api.sentiments import Analysis, SentimentError

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

FORGET = ("DELETE FROM first_answer WHERE created_at < now() - interval '1 day'", limits.FORGET)
"""What api.idempotency and api.limits keep; done when there is nothing else to do."""

APPLICATION = "movie-review-worker"
BENTO_AWAY = (UnavailableError, GatewayTimeoutError)
LONGEST_PAUSE = 5.0
"""Seconds between two tries of a Bento or a database that is away."""

LONGEST_DELAY = timedelta(hours=1)
"""Of one review that the model cannot read."""


class Worker:
    """One connection, which listens and works."""

    def __init__(self, config: settings.Settings, bento: BentoClient) -> None:
        self._config, self._bento = config, bento
        self._connection: asyncpg.Connection | None = None
        self._wake = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Work until `stop` is called; what is under way then is finished."""
        try:
            while not self._stopping:
                # A new series each time, so that the pauses grow with one outage and not with all of them.
                async for attempt in stamina.retry_context(
                    on=BENTO_AWAY + DATABASE_ERRORS,
                    attempts=None,
                    timeout=None,
                    wait_initial=0.2,
                    wait_max=LONGEST_PAUSE,
                ):
                    with attempt:
                        if not self._stopping:
                            await self._step()
        finally:
            self._hang_up()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def _step(self) -> None:
        try:
            await self._work(await self._connected())
        except DATABASE_ERRORS:
            self._hang_up()
            raise

    async def _work(self, connection: asyncpg.Connection) -> None:
        """Analyse what is due, one request's worth, or wait until something is."""
        self._wake.clear()
        lease = timedelta(seconds=self._config.worker_lease_seconds)
        claimed = await review_queue.claim(connection, MAX_TEXTS, lease)
        if not claimed:
            try:
                await asyncio.wait_for(self._wake.wait(), self._config.worker_poll_seconds)
            except TimeoutError:
                for statement in FORGET:
                    await connection.execute(statement)
            return
        correlation_id.set(uuid4().hex)  # of what the Bento is asked, and of what is logged about it
        with tracer.start_as_current_span("analyze reviews", attributes={"reviews": len(claimed)}):
            await self._settle(connection, claimed)

    async def _settle(self, connection: asyncpg.Connection, claimed: Sequence[PendingReview]) -> None:
        """Ask about what was claimed, and keep what is found."""
        try:
            results = await self._analyze(claimed)
        except BENTO_AWAY:
            await review_queue.give_back(connection, claimed)
            raise
        answered = list(zip(claimed, results, strict=True))
        stored = [(due, found) for due, found in answered if isinstance(found, Analysis)]
        await review_queue.store(connection, stored)
        failed = [(due, found) for due, found in answered if isinstance(found, SentimentError)]
        for due, error in failed:
            log.warning("review %s cannot be analysed: %s", due.id, error.error)
        if failed:
            await review_queue.postpone(connection, [(due, delay(due.attempts)) for due, _ in failed])
        if stored:
            logs.answered_by.set(stored[0][1].model_version)
            log.info("%d reviews analysed", len(stored))
        metrics.WORKER_STORED.inc(len(stored))
        metrics.WORKER_FAILED.inc(len(failed))

    async def _analyze(self, claimed: Sequence[PendingReview]) -> list[Analysis | SentimentError]:
        """One result a review; one at which the Bento fails is found and does not fail the others."""
        try:
            return await self._bento.classify([due.text for due in claimed])
        except BadGatewayError as error:
            if len(claimed) == 1:
                return [SentimentError(error=error.detail)]
            return [result for due in claimed for result in await self._analyze([due])]

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._config, APPLICATION)
            await self._connection.add_listener(review_queue.CHANNEL, lambda *_: self._wake.set())
            self._connection.add_termination_listener(lambda _: self._wake.set())
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def delay(attempts: int) -> timedelta:
    """5 seconds after the first failure, twice as long after each, and never many at the same moment."""
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
    """In a thread of its own: it answers while the worker thinks."""
    host, port = config.worker_metrics_host, config.worker_metrics_port
    try:
        start_http_server(port, host)
    except OSError as error:
        raise SystemExit(
            f"api.worker: WORKER_METRICS_HOST={host} and WORKER_METRICS_PORT={port} cannot be had ({error}):"
            " choose another port, or 0 for no metrics"
        ) from None


async def rescore(config: settings.Settings) -> str:
    """Make what another model has read due again; says how much. Raises ApiError, OSError, PostgresError."""
    bento = BentoClient(config)
    try:
        (answer,) = await bento.classify(["Fine."])
    finally:
        await bento.aclose()
    if isinstance(answer, SentimentError):
        raise UnavailableError(f"The sentiment model does not work: {answer.error}")
    connection = await connect(config, APPLICATION)
    try:
        count = await review_queue.rescore(connection, answer.model_version)
    finally:
        await connection.close()
    return f"{count} reviews are due for version {answer.model_version}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api.worker", description=__doc__)
    parser.add_argument("--rescore", action="store_true", help="analyse anew what an older model has read")
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
    except (*BENTO_AWAY, BadGatewayError) as error:
        raise SystemExit(f"api.worker: {error.detail} Is the Bento up at BENTO_URL?") from None
    except DATABASE_ERRORS as error:
        where = "DATABASE_DIRECT_URL" if config.database_direct_url else "DATABASE_URL"
        raise SystemExit(f"api.worker: the database cannot be used ({error}): see {where}") from None
    return None


if __name__ == "__main__":
    main()
