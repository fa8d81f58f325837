"""`python -m benchmarks.overload`: ten times what the Bento can do, asked for in an open loop.

First 32 clients that wait for their answers find the capacity, then requests come at a fixed rate whatever
happens to them. Prints one JSON object: goodput, how fast the rest was refused, the Bento's peak memory.
"""

import argparse
import asyncio
import collections
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bento import bento, model_options, registry
from benchmarks.client import Answer, Client, closed_loop_of, endless, good, milliseconds
from benchmarks.serving import processes
from benchmarks.serving.weight import weigh


async def open_loop(client: Client, texts: Iterator[str], rate: float, seconds: float) -> list[Answer]:
    """So many requests a second, whatever becomes of them."""
    began = time.perf_counter()
    running: list[asyncio.Task[Answer]] = []
    while (elapsed := time.perf_counter() - began) < seconds:
        due = int(elapsed * rate) - len(running)
        running += [asyncio.create_task(client.ask(next(texts))) for _ in range(due)]
        await asyncio.sleep(0.002)
    return await asyncio.gather(*running)


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
