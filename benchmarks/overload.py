"""`python -m benchmarks.overload`: ten times what the Bento can do, asked for in an open loop.

First 32 clients that wait for their answers find the capacity, then requests come at a fixed rate whatever
happens to them. Prints one JSON object: goodput, how fast the rest was refused, the Bento's peak memory.
"""

import argparse
import asyncio
import collections
import contextlib
import csv
import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient

from benchmarks.serving import processes
from benchmarks.serving.load import percentile
from benchmarks.serving.processes import HOST, Family, free_port, new_mark, wait_until
from benchmarks.serving.weight import weigh

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = 32
KEEP_SECONDS = 3
"""The Bento closes a connection that is idle for five."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    """What came back of one request; status 0 is a broken or refused connection. Times in seconds."""

    sent: float
    seconds: float
    status: int
    headers: bytes = b""
    body: bytes = b""


@dataclass
class Client:
    """As little Python around a socket as will do, as it shares the machine with what it measures."""

    port: int
    idle: list[tuple[float, Connection]] = field(default_factory=list)

    async def ask(self, text: str) -> Answer:
        body = json.dumps({"texts": [text]}).encode()
        sent = time.perf_counter()
        try:
            reader, writer = connection = await self._connect()
            writer.write(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            headers = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(headers.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            content = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return Answer(sent, time.perf_counter() - sent, 0)
        self.idle.append((time.perf_counter(), connection))
        return Answer(sent, time.perf_counter() - sent, int(headers[9:12]), headers, content)

    async def _connect(self) -> Connection:
        while self.idle:
            since, connection = self.idle.pop()
            if time.perf_counter() - since < KEEP_SECONDS:
                return connection
            connection[1].close()
        return await asyncio.open_connection(HOST, self.port)


def endless(path: Path, words: int) -> Iterator[str]:
    """Texts of about so many words (0: as they are), none of them twice."""
    with path.open(encoding="utf-8", newline="") as file:
        snippets = [row["text"] for row in csv.DictReader(file)]
    for number, start in enumerate(itertools.count()):
        chosen = (snippets[(start + offset) % len(snippets)] for offset in itertools.count())
        text = next(chosen)
        while len(text.split()) < words:
            text += " " + next(chosen)
        yield f"{number} {text}"


async def closed_loop(
    client: Client, texts: Iterator[str], clients: int, stopped: asyncio.Event
) -> list[Answer]:
    """So many clients that send their next request when the last is answered."""

    async def keep_asking() -> list[Answer]:
        answers = []
        while not stopped.is_set():
            answers.append(await client.ask(next(texts)))
        return answers

    return list(itertools.chain(*await asyncio.gather(*(keep_asking() for _ in range(clients)))))


async def closed_loop_of(
    seconds: float, client: Client, texts: Iterator[str], clients: int = CLIENTS
) -> list[Answer]:
    stopped = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stopped.set)
    return await closed_loop(client, texts, clients, stopped)


async def open_loop(client: Client, texts: Iterator[str], rate: float, seconds: float) -> list[Answer]:
    """So many requests a second, whatever becomes of them."""
    began = time.perf_counter()
    running: list[asyncio.Task[Answer]] = []
    while (elapsed := time.perf_counter() - began) < seconds:
        due = int(elapsed * rate) - len(running)
        running += [asyncio.create_task(client.ask(next(texts))) for _ in range(due)]
        await asyncio.sleep(0.002)
    return await asyncio.gather(*running)


def good(answers: list[Answer], after: float, seconds: float) -> float:
    """Good answers a second that came within `seconds` of `after`."""
    came = [a for a in answers if a.status == 200 and after <= a.sent + a.seconds < after + seconds]
    return len(came) / seconds


def milliseconds(answers: list[Answer]) -> dict[str, float]:
    ordered = sorted(answer.seconds * 1000 for answer in answers)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(ordered, share), 1) for name, share in shares.items()}


@dataclass(frozen=True)
class MlflowServer:
    """A running server with an experiment and the registered model `sentiment`."""

    url: str
    client: MlflowClient
    scratch: Path

    def register(self, export: Path, max_tokens: int) -> str:
        """Register the export as the pipeline does, its texts cut at `max_tokens`. Returns the version."""
        serving = self.scratch / "serving"
        shutil.copytree(export, serving, dirs_exist_ok=True)
        settings = json.loads((serving / "serving.json").read_text(encoding="utf-8"))
        (serving / "serving.json").write_text(
            json.dumps({**settings, "max_tokens": max_tokens, "windows": 1})
        )
        model = self.client.create_logged_model("0", name="sentiment")
        self.client.log_model_artifacts(model.model_id, str(serving), "serving")
        self.client.finalize_logged_model(model.model_id, "READY")
        tags = {"weights_sha256": hashlib.sha256((serving / "model.bin").read_bytes()).hexdigest()}
        found = self.client.create_model_version(
            "sentiment", model.artifact_location, tags=tags, model_id=model.model_id
        )
        return str(found.version)

    def make_champion(self, version: str) -> None:
        self.client.set_registered_model_alias("sentiment", "champion", version)


@contextlib.contextmanager
def registry(scratch: Path) -> Iterator[MlflowServer]:
    port = free_port()
    where = ["--host", HOST, "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{scratch}/mlflow.db"]
    artifacts = ["--artifacts-destination", f"{scratch}/artifacts"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with Family(new_mark()) as family:
        command = [sys.executable, "-m", "mlflow", "server", *where, *stores, *artifacts]
        family.start(command, environment, scratch / "mlflow.log", scratch)
        url = f"http://{HOST}:{port}"
        wait_until(lambda: answers(f"{url}/health"), family, 120)
        client = MlflowClient(url, url)
        client.create_registered_model("sentiment")
        yield MlflowServer(url, client, scratch)


@contextlib.contextmanager
def bento(scratch: Path, mlflow: MlflowServer, **settings: str) -> Iterator[tuple[Family, int]]:
    """The Bento, ready, and its port."""
    port = free_port()
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": mlflow.url,
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        **settings,
    }
    target = "bentos.sentiment.service:Sentiment"
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]
    with Family(new_mark()) as family:
        family.start(command, environment, scratch / "bento.log", ROOT)
        wait_until(lambda: answers(f"http://{HOST}:{port}/readyz"), family, 120)
        yield family, port


def answers(url: str) -> bool:
    """True on 200."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
        return bool(response.status == 200)
    return False


async def measure(client: Client, options: argparse.Namespace) -> dict[str, object]:
    texts = endless(options.validation, options.words)
    await closed_loop_of(3, client, texts)
    began = time.perf_counter()
    capacity = good(await closed_loop_of(options.seconds, client, texts), began, options.seconds)
    # The queue fills first; then it is overload.
    began, own = time.perf_counter() + options.fill, time.process_time()
    rate = options.times * capacity
    answers = await open_loop(client, texts, rate, options.fill + options.seconds)
    goodput = good(answers, began, options.seconds)
    cores = len(os.sched_getaffinity(0))
    own_cores = (time.process_time() - own) / (options.fill + options.seconds)
    refused = [answer for answer in answers if answer.status in (429, 503)]
    return {
        "capacity": round(capacity, 1),
        "asked": round(len(answers) / (options.fill + options.seconds), 1),
        "goodput": round(goodput, 1),
        "share": round(goodput / capacity, 3),
        # Who asks runs on the same cores, and asking ten times as much is work too.
        "cores_taken_by_asking": round(own_cores, 2),
        "share_of_the_other_cores": round(goodput / capacity / (1 - own_cores / cores), 3),
        "statuses": dict(collections.Counter(answer.status for answer in answers)),
        "refused_ms": milliseconds(refused),
        "without_retry_after": sum(b"retry-after: " not in answer.headers for answer in refused),
        "admitted_ms": milliseconds([answer for answer in answers if answer.status == 200]),
    }


def model_options(parser: argparse.ArgumentParser) -> None:
    """Which model is served, and the texts that it is asked about."""
    results = ROOT / "results"
    parser.add_argument("--export", type=Path, default=results / "export" / "serving")
    parser.add_argument("--validation", type=Path, default=results / "prepare" / "validation.csv")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--words", type=int, default=0, help="of a text; default 0, the snippets as they are")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    model_options(parser)
    parser.add_argument("--times", type=float, default=10, help="the capacity; default 10")
    parser.add_argument(
        "--fill", type=float, default=8, help="seconds of overload before counting; default 8"
    )
    parser.add_argument("--seconds", type=float, default=10, help="of each phase; default 10")
    options = parser.parse_args()
    processes.end_on_terminate()
    with tempfile.TemporaryDirectory(prefix="overload-") as folder:
        scratch = Path(folder)
        with registry(scratch) as mlflow:
            mlflow.make_champion(mlflow.register(options.export, options.max_tokens))
            with bento(scratch, mlflow) as (family, port), weigh(family) as weight:
                found = asyncio.run(measure(Client(port), options))
    print(json.dumps(found | {"peak_mebibytes": round(weight.peak_mebibytes)}))


if __name__ == "__main__":
    main()
