"""The contenders: how each is started, and its request and response. The code of the peers is in peers/."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.command import BenchmarkError
from benchmarks.processes import HOST, free_port
from benchmarks.serving.setup import Setup

ENGINE = "engine"
"""The engine alone, without a server: no contender, but the reference for all of them."""


@dataclass(frozen=True)
class Launch:
    """Commands to run at the same time, and their environment."""

    commands: list[list[str]]
    environment: dict[str, str]


@dataclass(frozen=True)
class Contender:
    """A server of the model. It receives a POST request at `path` for each text."""

    name: str
    title: str
    path: str
    launch: Callable[[Setup, int], Launch]  # on a port
    make_body: Callable[[str], object] = lambda text: {"text": text}
    parse_label: Callable[[Any], str] = lambda content: str(content["label"])
    is_peer: bool = True
    prepare: Callable[[Setup], Launch] | None = None  # once, before the first round


def bento_command(port: int) -> list[str]:
    target = "bentos.sentiment.service:Sentiment"
    return [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]


def launch_bento(setup: Setup, port: int) -> Launch:
    return Launch([bento_command(port)], setup.environment)


def launch_api(setup: Setup, port: int) -> Launch:
    bento_port = free_port()
    api = [sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app"]
    return Launch(
        [bento_command(bento_port), [*api, "--host", HOST, "--port", str(port)]],
        setup.environment
        | {
            "BENTO_URL": f"http://{HOST}:{bento_port}",
            # Nothing connects to the database, since /api/analyze stores nothing.
            "DATABASE_URL": f"postgresql+asyncpg://nobody@{HOST}:1/nowhere",
            "API_LIMIT_ANALYZE": "off",  # the peers have no limits
        },
    )


def peer(*words: str) -> Callable[[Setup, int], Launch]:
    """Return a launcher of `python -m WORDS` in the peers' environment; fills in {port} and {scratch}."""

    def launch(setup: Setup, port: int) -> Launch:
        environment = setup.peer_environment(port)
        filled = [word.format(port=port, scratch=environment["BENCHMARK_SCRATCH"]) for word in words]
        return Launch([[setup.peers_python, "-m", *filled]], environment)

    return launch


def module(name: str) -> str:
    return f"benchmarks.serving.peers.{name}"


def stock_bentoml() -> tuple[str, ...]:
    return ("bentoml", "serve", module("stock_bentoml:Sentiment"), "--host", HOST, "--port", "{port}")


def mlflow_serve() -> tuple[str, ...]:
    options = ("--env-manager", "local", "--workers", "1", "--host", HOST, "--port", "{port}")
    return ("mlflow", "models", "serve", "--model-uri", "{scratch}/model", *options)


def first_label(content: Any) -> str:
    return str(content[0]["label"])


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("ours-api", "ours, through the API", "/api/analyze", launch_api, is_peer=False),
        Contender(
            "ours-bento",
            "ours, Bento alone",
            "/classify",
            launch_bento,
            make_body=lambda text: {"texts": [text]},
            parse_label=first_label,
            is_peer=False,
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
            make_body=lambda text: {"texts": [text]},
            parse_label=first_label,
        ),
        Contender(
            "mlflow",
            "mlflow models serve",
            "/invocations",
            peer(*mlflow_serve()),
            make_body=lambda text: {"inputs": [text]},
            parse_label=lambda content: first_label(content["predictions"]),
            prepare=lambda setup: peer(module("mlflow_model"))(setup, 0),
        ),
    )
}
TITLES = {name: contender.title for name, contender in CONTENDERS.items()} | {
    ENGINE: "engine alone, no server"
}


def parse_names(value: str) -> list[str]:
    """Split comma-separated names, in the order given. Raises BenchmarkError if one is unknown."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    if unknown := [name for name in names if name not in TITLES]:
        raise BenchmarkError(f"unknown contender {', '.join(unknown)}: choose from {', '.join(TITLES)}")
    return names
