"""The Bento: POST /classify answers what the champion thinks of each text."""

import asyncio
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType
from pydantic import BaseModel, Field

from bentos.sentiment import champion, logs
from bentos.sentiment.dispatch import EagerService
from bentos.sentiment.follow import Follower
from bentos.sentiment.served import Served, first
from bentos.sentiment.settings import Settings

settings = Settings()


class Classified(BaseModel):
    """The likeliest label, its probability, and the registry version that says so."""

    label: str
    score: float = Field(ge=0, le=1)
    model_version: str
    truncated: bool = Field(description="Whether a part of the text was left out.")


class Refused(BaseModel):
    """Why one text got no label; its neighbours got theirs."""

    error: str


Texts = Annotated[
    list[str], Field(min_length=1, max_length=settings.max_texts, description="Reviews, each any string.")
]
Answers = Annotated[
    list[Classified | Refused],
    ContentType("application/json"),  # else BentoML finds it out for each answer, which takes milliseconds
]


def tracing(settings: Settings) -> dict[str, Any]:
    """BentoML's own configuration of it."""
    if not settings.otlp_endpoint:
        return {}
    address = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    return {
        "exporter_type": "otlp",
        "otlp": {"protocol": "http", "endpoint": address},
        "timeout": 2,  # seconds; who ends waits for the last ones to be sent
        "sample_rate": settings.traces_share,
        "excluded_urls": "^[^/]*//[^/]*/(livez|healthz|readyz|metrics)$",
    }


@bentoml.service(
    name="Sentiment",
    service_class=EagerService,
    traffic={"timeout": settings.timeout_seconds, "max_concurrency": settings.max_concurrency},
    workers=settings.workers,
    tracing=tracing(settings),
    threads=1,  # the engine is called by one thread at a time, and uses every core by itself
)
class Sentiment:
    """Sentiment of film reviews."""

    to_async: Any  # BentoML sets it: this service behind its own front door, in process

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def fetch() -> None:
        """Runs once, in the parent of the workers: if it fails, `bentoml serve` says so and exits 1.

        In a process of its own, as the parent would keep the 100 MB that MLflow's client takes.
        """
        if settings.log_format == "json":
            logs.write_json()
        with ProcessPoolExecutor(max_workers=1) as aside:
            aside.submit(champion.fetch, settings).result()

    def __init__(self) -> None:
        """The server answers nothing, not even /livez, before this returns."""
        self.follower = Follower(settings, first(settings))
        self.ready = False

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def follow(self) -> None:
        self.following = asyncio.create_task(self.follower.run())

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def unfollow(self) -> None:
        self.following.cancel()
        await asyncio.wait({self.following})

    async def __is_ready__(self) -> bool:
        """Behind /readyz. The first probe goes the whole way with one text, which takes 50 ms once."""
        if not self.ready:
            await self.to_async.classify(["good"])
            self.ready = True
        return True

    @bentoml.api(  # type: ignore[untyped-decorator]
        batchable=True, max_batch_size=settings.max_batch_size, max_latency_ms=settings.max_latency_ms
    )
    def classify(self, texts: Texts) -> Answers:
        """One answer a text, in order. A text that is blank or too long gets an error of its own.

        The list holds the texts of many requests: an exception here would fail them all. A request that is
        not a list of 1 to SENTIMENT_MAX_TEXTS strings never comes here, it is answered 400.
        """
        refusals = [refusal(text) for text in texts]
        good = [text for text, refused in zip(texts, refusals, strict=True) if not refused]
        answers = iter(label(self.follower.served, good))
        return [refused or next(answers) for refused in refusals]


def label(served: Served, texts: list[str]) -> list[Classified]:
    version = served.model.version
    return [
        Classified(
            label=verdict.label, score=verdict.score, model_version=version, truncated=verdict.truncated
        )
        for verdict in served.classify(texts)
    ]


def refusal(text: str) -> Refused | None:
    if not text.strip():
        return Refused(error="the text is empty")
    if len(text) > settings.max_text_chars:
        return Refused(error=f"the text has {len(text)} characters, {settings.max_text_chars} are allowed")
    return None
