"""Load the Bento with a multiple of its capacity, in an open loop.

A closed loop of 32 clients first measures the capacity. Then requests are sent at a fixed rate, whether or
not earlier ones have been answered. Prints a JSON object with the goodput, the latency of rejected requests
and the Bento's peak memory.
"""

import argparse
import asyncio
import collections
import json
import time
from collections.abc import Iterator

from benchmarks import command
from benchmarks.bento.client import (
    CLIENTS,
    Client,
    Response,
    closed_loop,
    goodput,
    latency_ms,
    unique_texts,
)
from benchmarks.bento.server import add_options, run_bento
from benchmarks.resource_usage import measure_usage
from bentos.sentiment.cores import usable_cores

WARM_UP_SECONDS = 3


async def timed_closed_loop(client: Client, texts: Iterator[str], seconds: float) -> list[Response]:
    stopped = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stopped.set)
    return await closed_loop(client, texts, CLIENTS, stopped)


async def open_loop(client: Client, texts: Iterator[str], rate: float, seconds: float) -> list[Response]:
    """Send `rate` requests per second, without waiting for responses."""
    start = time.perf_counter()
    requests: list[asyncio.Task[Response]] = []
    while (elapsed := time.perf_counter() - start) < seconds:
        due = int(elapsed * rate) - len(requests)
        requests += [asyncio.create_task(client.classify(next(texts))) for _ in range(due)]
        await asyncio.sleep(0.002)
    return await asyncio.gather(*requests)


async def measure(client: Client, options: argparse.Namespace) -> dict[str, object]:
    texts = unique_texts(options.validation, options.words)
    await timed_closed_loop(client, texts, WARM_UP_SECONDS)
    start = time.perf_counter()
    responses = await timed_closed_loop(client, texts, options.seconds)
    capacity = goodput(responses, start, options.seconds)

    seconds = options.fill + options.seconds
    start, cpu_before = time.perf_counter() + options.fill, time.process_time()
    responses = await open_loop(client, texts, options.times * capacity, seconds)
    good = goodput(responses, start, options.seconds)
    cores = usable_cores()
    client_cores = (time.process_time() - cpu_before) / seconds
    rejected = [response for response in responses if response.status in (429, 503)]
    return {
        "capacity": round(capacity, 1),
        "requests_per_second": round(len(responses) / seconds, 1),
        "goodput": round(good, 1),
        "goodput_to_capacity": round(good / capacity, 3),
        # The clients run on the same cores, and ten times as many requests cost them more time.
        "client_cores": round(client_cores, 2),
        "goodput_to_capacity_of_other_cores": round(good / capacity / (1 - client_cores / cores), 3),
        "statuses": dict(collections.Counter(response.status for response in responses)),
        "rejected_ms": latency_ms(rejected),
        "rejected_without_retry_after": sum(b"retry-after: " not in r.headers for r in rejected),
        "successful_ms": latency_ms(response for response in responses if response.status == 200),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bento.overload", description=__doc__)
    add_options(parser)
    parser.add_argument(
        "--times", type=float, default=10, help="request rate as a multiple of the capacity; default 10"
    )
    parser.add_argument(
        "--fill", type=float, default=8, help="seconds of overload before the measurement; default 8"
    )
    parser.add_argument("--seconds", type=float, default=10, help="duration of each phase; default 10")
    options = parser.parse_args()
    with run_bento(options) as bento, measure_usage(bento.processes) as usage:
        found = asyncio.run(measure(Client(bento.port), options))
    print(json.dumps(found | {"peak_mebibytes": round(usage.peak_mebibytes)}))


if __name__ == "__main__":
    command.run(main)
