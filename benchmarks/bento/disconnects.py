"""Kill waves of clients during their requests, while eight other clients send requests without a pause.

Prints a JSON object: the latency that the eight clients saw before, during and after the waves, and how many
texts the Bento classified for clients that had disconnected.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import command
from benchmarks.bento.client import Client, closed_loop, latency_ms, unique_texts
from benchmarks.bento.server import Bento, add_options, run_bento
from benchmarks.processes import HOST
from benchmarks.wrk import post_command, write_bodies

STEADY_CLIENTS = 8
BODIES = 40
"""Requests for each disconnecting client; a wave ends before any client has sent all of them."""


def wave(port: int, bodies: Path, clients: int, seconds: float) -> float:
    """Send requests for `seconds`, then kill all clients. Returns the time at which they were killed."""
    words = post_command(f"http://{HOST}:{port}/classify", bodies, clients, seconds=60)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as load:
        time.sleep(seconds)
        load.kill()
    return time.perf_counter()


def write_wave(folder: Path, texts: Iterator[str], clients: int) -> None:
    folder.mkdir()
    for client in range(clients):
        write_bodies(folder, client, ({"texts": [text]} for text in itertools.islice(texts, BODIES)))


async def measure(bento: Bento, options: argparse.Namespace) -> dict[str, object]:
    texts = unique_texts(options.validation, options.words)
    # Other texts than those of the steady clients, whose results are in the Bento's cache.
    wave_texts = (f"gone {text}" for text in unique_texts(options.validation, options.words))
    stopped = asyncio.Event()
    load = asyncio.create_task(closed_loop(Client(bento.port), texts, STEADY_CLIENTS, stopped))
    await asyncio.sleep(options.pause)
    waves: list[tuple[float, float]] = []
    for number in range(options.waves):
        folder = bento.scratch / f"wave-{number}"
        write_wave(folder, wave_texts, options.clients)
        start = time.perf_counter()
        end = await asyncio.to_thread(wave, bento.port, folder, options.clients, options.seconds)
        waves.append((start, end))
        await asyncio.sleep(options.pause)
    stopped.set()
    responses = await load
    before = [r for r in responses if r.sent_at + r.latency < waves[0][0]]
    during = [r for r in responses if any(start <= r.sent_at <= end for start, end in waves)]
    after = [r for r in responses if any(end < r.sent_at <= end + 1 for _, end in waves)]
    classified = bento.metric("sentiment_cache_misses_total")
    # Each request has one text, and a request answered 200 still had its client.
    answered = bento.metric('bentoml_service_request_total{endpoint="/classify",http_response_code="200"')
    return {
        "disconnected_clients": options.waves * options.clients,
        "cancelled_requests": int(bento.metric('sentiment_requests_refused_total{status="499"')),
        "classified": int(classified),
        "classified_after_disconnect": int(classified - answered),
        "steady_requests": len(responses),
        "failed": sum(response.status != 200 for response in responses),
        "before_ms": latency_ms(before),
        "during_waves_ms": latency_ms(during),
        "second_after_waves_ms": latency_ms(after),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bento.disconnects", description=__doc__)
    add_options(parser)
    parser.add_argument("--clients", type=int, default=128, help="clients of each wave; default 128")
    parser.add_argument("--waves", type=int, default=5, help="number of waves; default 5")
    parser.add_argument("--seconds", type=float, default=2, help="duration of each wave; default 2")
    parser.add_argument("--pause", type=float, default=3, help="seconds between waves; default 3")
    options = parser.parse_args()
    with run_bento(options) as bento:
        print(json.dumps(asyncio.run(measure(bento, options))))


if __name__ == "__main__":
    command.run(main)
