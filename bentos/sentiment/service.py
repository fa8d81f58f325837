"""The Bento: POST /classify returns the champion's label for each text."""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType
from pydantic import BaseModel, Field

from bentos.sentiment import logs, registry
from bentos.sentiment.champion import files
from bentos.sentiment.champion.loaded import LoadedModel, load_at_start
from bentos.sentiment.champion.watcher import ChampionWatcher
from bentos.sentiment.server.app import EagerService
from bentos.sentiment.settings import Settings

settings = Settings()


class Classified(BaseModel):
    """The most likely label, its probability, and the registered version that predicted it."""

    label: str
    score: float = Field(ge=0, le=1)
    model_version: str
    truncated: bool = Field(description="Whether the middle of the text was left out.")
    known_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the text's words that occur in the training reviews; null if the version does"
        " not say. Below one half the label means little.",
    )


class Refused(BaseModel):
    """Why a text has no label. The other texts of the request are not affected."""

    error: str


Texts = Annotated[
    list[str], Field(min_length=1, max_length=settings.max_texts, description="Reviews, each any string.")
]
Answers = Annotated[
    list[Classified | Refused],
    ContentType("application/json"),  # else BentoML infers it per response, which takes milliseconds
]


def tracing(settings: Settings) -> dict[str, Any]:
    """Return BentoML's tracing configuration; empty disables tracing."""
    if not settings.otlp_endpoint:
        return {}
    address = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    return {
        "exporter_type": "otlp",
        "otlp": {"protocol": "http", "endpoint": address},
        "timeout": 2,  # seconds; shutdown waits this long for the last export
        "sample_rate": settings.traces_share,
        "excluded_urls": "^[^/]*//[^/]*/(livez|healthz|readyz|metrics)$",
    }


@bentoml.service(
    name="Sentiment",
    service_class=EagerService,
    traffic={"timeout": settings.timeout_seconds, "max_concurrency": settings.max_concurrency},
    workers=settings.workers,
    tracing=tracing(settings),
    threads=1,  # the engine is not thread-safe, and uses every core by itself
)
class Sentiment:
    """Sentiment of film reviews."""

    to_async: Any  # set by BentoML: calls this service in process, through its batching queue

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def fetch() -> None:
        """Fetch the champion once, in the parent of the workers; on failure `bentoml serve` exits with 1.

        Runs in a child process, because MLflow's client would cost the parent 100 MB for its whole life.
        """
        if settings.log_format == "json":
            logs.write_json()
        with ProcessPoolExecutor(max_workers=1) as child:
            try:
                child.submit(files.fetch, settings).result(settings.fetch_seconds)
            except TimeoutError:
                for process in multiprocessing.active_children():
                    process.kill()  # which releases the store's lock
                files.last_champion(settings, registry.too_slow(settings))

    def __init__(self) -> None:
        """Load the model. The server answers nothing, not even /livez, before this returns."""
        self.watcher = ChampionWatcher(settings, load_at_start(settings))
        self.ready = False

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start_watcher(self) -> None:
        self.watching = asyncio.create_task(self.watcher.run())

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop_watcher(self) -> None:
        self.watching.cancel()
        await asyncio.wait({self.watching})

    async def __is_ready__(self) -> bool:
        """Answer /readyz. The first probe classifies one text through the queue, which takes 50 ms."""
        if not self.ready:
            await self.to_async.classify(["good"])
            self.ready = True
        return True

    @bentoml.api(  # type: ignore[untyped-decorator]
        batchable=True, max_batch_size=settings.max_batch_size, max_latency_ms=settings.max_latency_ms
    )
    def classify(self, texts: Texts) -> Answers:
        """Return one answer per text, in order. A blank or too long text gets an error instead of a label.

        `texts` combines several requests: an exception would fail all of them. BentoML has already answered
        400 to requests that are not a list of 1 to SENTIMENT_MAX_TEXTS strings.
        """
        refusals = [refusal(text) for text in texts]
        valid = [text for text, refused in zip(texts, refusals, strict=True) if not refused]
        answers = iter(classified(self.watcher.current, valid))
        return [refused or next(answers) for refused in refusals]


def classified(model: LoadedModel, texts: list[str]) -> list[Classified]:
    return [
        Classified(
            label=prediction.label,
            score=prediction.score,
            model_version=model.stored.version,
            truncated=prediction.truncated,
            known_share=prediction.known_share,
        )
        for prediction in model.classify(texts)
    ]


def refusal(text: str) -> Refused | None:
    """Return the error for a text that is not classified, or None for a valid text."""
    if not text.strip():
        return Refused(error="the text is empty")
    if len(text) > settings.max_text_chars:
        return Refused(error=f"the text has {len(text)} characters, {settings.max_text_chars} are allowed")
    return None
