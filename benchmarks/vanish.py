"""`python -m benchmarks.vanish`: 128 clients of wrk are killed amid their requests, again and again.

All the while eight others ask without a pause. Prints one JSON object: what those eight saw before, in and
after the waves, and how many texts were computed for nobody.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bento import bento, metric, model_options, registry
from benchmarks.client import Client, closed_loop, endless, milliseconds
from benchmarks.serving import processes
from benchmarks.serving.load import SCRIPT, find_wrk
from benchmarks.serving.processes import HOST

STAYING = 8
BODIES = 40
"""Requests that each vanishing client has to send; a wave ends before any of them has sent so many."""


def write_bodies(folder: Path, texts: Iterator[str], clients: int) -> None:
    for client in range(clients):
        lines = [json.dumps({"texts": [text]}) + "\n" for text in itertools.islice(texts, BODIES)]
        (folder / str(client)).write_text("".join(lines))


def wave(port: int, folder: Path, clients: int, seconds: float) -> float:
    """Ask with so many connections for so long, then be gone without a word. Returns when that was."""
    size = [f"--threads={clients}", f"--connections={clients}", "--duration=60s", f"--script={SCRIPT}"]
    command = [find_wrk(), *size, f"http://{HOST}:{port}/classify", "--", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as asking:
        time.sleep(seconds)
        asking.kill()
    return time.perf_counter()


async def measure(port: int, scratch: Path, options: argparse.Namespace) -> dict[str, object]:
    texts = endless(options.validation, options.words)
    # Other texts, or some would be known from the answers to those who stay.
    vanishing = (f"gone {text}" for text in endless(options.validation, options.words))
    stopped = asyncio.Event()
    staying = asyncio.create_task(closed_loop(Client(port), texts, STAYING, stopped))
    await asyncio.sleep(options.pause)
    waves: list[tuple[float, float]] = []
    for number in range(options.waves):
        folder = scratch / f"wave-{number}"
        folder.mkdir()
        write_bodies(folder, vanishing, options.clients)
        began = time.perf_counter()
        waves.append((began, await asyncio.to_thread(wave, port, folder, options.clients, options.seconds)))
        await asyncio.sleep(options.pause)
    stopped.set()
    answers = await staying
    first = waves[0][0]
    in_waves = [answer for answer in answers if any(began <= answer.sent <= end for began, end in waves)]
    after = [answer for answer in answers if any(end < answer.sent <= end + 1 for _, end in waves)]
    computed = metric(port, "sentiment_cache_misses_total")
    # One request is one text here, and those that were answered 200 were answered to somebody.
    answered = metric(port, 'bentoml_service_request_total{endpoint="/classify",http_response_code="200"')
    return {
        "vanished": options.waves * options.clients,
        "hang_ups_seen": int(metric(port, 'sentiment_requests_refused_total{status="499"')),
        "computed": int(computed),
        "computed_for_nobody": int(computed - answered),
        "staying": len(answers),
        "failed": sum(answer.status != 200 for answer in answers),
        "before_ms": milliseconds([answer for answer in answers if answer.sent + answer.seconds < first]),
        "in_waves_ms": milliseconds(in_waves),
        "the_second_after_ms": milliseconds(after),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vanish", description=__doc__)
    model_options(parser)
    parser.add_argument("--clients", type=int, default=128, help="that vanish in each wave; default 128")
    parser.add_argument("--waves", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=float, default=2, help="of each wave; default 2")
    parser.add_argument("--pause", type=float, default=3, help="seconds between waves; default 3")
    options = parser.parse_args()
    processes.end_on_terminate()
    with tempfile.TemporaryDirectory(prefix="vanish-") as folder:
        scratch = Path(folder)
        with registry(scratch) as mlflow:
            mlflow.make_champion(mlflow.register(options.export, options.max_tokens))
            with bento(scratch, mlflow) as (_, port):
                print(json.dumps(asyncio.run(measure(port, scratch, options))))


if __name__ == "__main__":
    main()
