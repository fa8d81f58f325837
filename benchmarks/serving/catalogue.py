"""Who takes part: how each is started, asked and understood. The peers' own code is in contenders/."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.place import Place
from benchmarks.serving.processes import HOST, free_port

ENGINE = "engine"
"""The bare engine: no server, no contender, but what all are compared with."""


@dataclass(frozen=True)
class Start:
    """Processes to start together, and what they find in their environment."""

    commands: list[list[str]]
    environment: dict[str, str]


@dataclass(frozen=True)
class Contender:
    """A way to serve the model. `body` makes a request of a text, `label` finds the label in an answer."""

    name: str
    title: str
    path: str
    start: Callable[[Place, int], Start]  # of the port to listen on
    body: Callable[[str], object] = lambda text: {"text": text}
    label: Callable[[Any], str] = lambda answer: str(answer["label"])
    peer: bool = True
    prepare: Callable[[Place], Start] | None = None  # once, before the first round


def bento_command(port: int) -> list[str]:
    target = "bentos.sentiment.service:Sentiment"
    return [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]


def ours_bento(place: Place, port: int) -> Start:
    return Start([bento_command(port)], place.environment)


def ours_api(place: Place, port: int) -> Start:
    bento_port = free_port()
    api = [sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app"]
    return Start(
        [bento_command(bento_port), [*api, "--host", HOST, "--port", str(port)]],
        place.environment
        | {
            "BENTO_URL": f"http://{HOST}:{bento_port}",
            # Analysing keeps nothing, so the database is never connected to.
            "DATABASE_URL": f"postgresql+asyncpg://nobody@{HOST}:1/nowhere",
            "API_LIMIT_ANALYZE": "off",  # as it is for the peers
        },
    )


def peer(*words: str) -> Callable[[Place, int], Start]:
    """`python -m WORDS` in the peers' environment; {port} and {scratch} are filled in."""

    def start(place: Place, port: int) -> Start:
        environment = place.peer_environment(port)
        filled = [word.format(port=port, scratch=environment["BENCHMARK_SCRATCH"]) for word in words]
        return Start([[place.peers_python, "-m", *filled]], environment)

    return start


def module(name: str) -> str:
    return f"benchmarks.serving.contenders.{name}"


def stock_bentoml() -> tuple[str, ...]:
    return ("bentoml", "serve", module("stock_bentoml:Sentiment"), "--host", HOST, "--port", "{port}")


def mlflow_serve() -> tuple[str, ...]:
    options = ("--env-manager", "local", "--workers", "1", "--host", HOST, "--port", "{port}")
    return ("mlflow", "models", "serve", "--model-uri", "{scratch}/model", *options)


def first(answers: Any) -> str:
    return str(answers[0]["label"])


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("ours-api", "ours, through the API", "/api/analyze", ours_api, peer=False),
        Contender(
            "ours-bento",
            "ours, at the Bento",
            "/classify",
            ours_bento,
            body=lambda text: {"texts": [text]},
            label=first,
            peer=False,
        ),
        Contender(
            "fastapi", "FastAPI + transformers pipeline", "/classify", peer(module("fastapi_pipeline"))
        ),
        Contender("litserve", "LitServe, batched", "/predict", peer(module("litserve_batch"))),
        Contender("ray", "Ray Serve, @serve.batch", "/", peer(module("ray_serve"))),
        Contender(
            "bentoml",
            "stock BentoML, batchable",
            "/classify",
            peer(*stock_bentoml()),
            body=lambda text: {"texts": [text]},
            label=first,
        ),
        Contender(
            "mlflow",
            "mlflow models serve",
            "/invocations",
            peer(*mlflow_serve()),
            body=lambda text: {"inputs": [text]},
            label=lambda answer: first(answer["predictions"]),
            prepare=lambda place: peer(module("mlflow_model"))(place, 0),
        ),
    )
}
TITLES = {name: contender.title for name, contender in CONTENDERS.items()} | {
    ENGINE: "bare engine, no server"
}


def chosen(names: str) -> list[str]:
    """Comma-separated names in the order given. Raises BenchmarkError for one that nobody has."""
    found = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in found if name not in TITLES]:
        raise BenchmarkError(f"no contender {', '.join(unknown)}: there are {', '.join(TITLES)}")
    return found
