"""Promote a version and roll it back while 32 clients send requests without a pause.

Prints a JSON object: the numbers of requests and failures, the latency during the swaps and outside them, and
for each swap the duration of the command and the seconds after which each worker served the other version.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time

from benchmarks import command
from benchmarks.bento.client import CLIENTS, Client, Response, closed_loop, latency_ms, unique_texts
from benchmarks.bento.server import Bento, add_options, run_bento
from benchmarks.command import BenchmarkError
from benchmarks.processes import ROOT

SWAP_SECONDS = 120

SWAPS = (
    # Both versions are the same model, so there is nothing for the gates to compare.
    ("promotion", "2", ["--version", "2", "--force"]),
    ("rollback", "1", ["--rollback"]),
)


def swap(bento: Bento, version: str, workers: int, arguments: list[str]) -> tuple[float, float, list[float]]:
    """Run `promote` with these arguments, and wait until all workers serve the version.

    Returns the start time, the seconds that the command took, and for each worker the seconds until it served
    the version. Raises BenchmarkError.
    """
    start = time.perf_counter()
    words = [sys.executable, "-m", "bentos.sentiment.promote", *arguments, "--json"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": bento.mlflow_url}
    command_seconds = 0.0
    served_after: list[float] = []
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as promote:
        while len(served_after) < workers or not command_seconds:
            elapsed = time.perf_counter() - start
            if elapsed > SWAP_SECONDS:
                promote.kill()
                raise BenchmarkError(f"version {version} is not served after {SWAP_SECONDS} seconds")
            if not command_seconds and promote.poll() is not None:
                command_seconds = elapsed
                if promote.returncode:
                    raise BenchmarkError(
                        f"promote {' '.join(arguments)} failed with exit code {promote.returncode}"
                    )
            serving = int(bento.metric(f'sentiment_model_workers{{model_version="{version}"'))
            served_after += [round(elapsed, 2)] * (serving - len(served_after))
            time.sleep(0.02)
    return start, round(command_seconds, 2), served_after


async def measure(bento: Bento, options: argparse.Namespace) -> dict[str, object]:
    texts = unique_texts(options.validation, options.words)
    stopped = asyncio.Event()
    load = asyncio.create_task(closed_loop(Client(bento.port), texts, CLIENTS, stopped))
    found: dict[str, object] = {}
    swaps: list[tuple[float, float]] = []
    for name, version, arguments in SWAPS:
        await asyncio.sleep(options.seconds)
        start, command_seconds, served_after = await asyncio.to_thread(
            swap, bento, version, options.workers, arguments
        )
        swaps.append((start, start + max(command_seconds, served_after[-1])))
        found |= {f"{name}_command_seconds": command_seconds, f"{name}_served_after_seconds": served_after}
    await asyncio.sleep(options.seconds)
    stopped.set()
    responses = await load
    during = [response for response in responses if in_any(response.sent_at, swaps)]
    outside = [response for response in responses if not in_any(response.sent_at, swaps)]
    return found | {
        "requests": len(responses),
        "failed": sum(response.status != 200 for response in responses),
        "stale": stale(responses, swaps[-1][1]),
        "during_swaps_ms": latency_ms(during),
        "outside_swaps_ms": latency_ms(outside),
    }


def in_any(moment: float, intervals: list[tuple[float, float]]) -> bool:
    return any(start <= moment <= end for start, end in intervals)


def stale(responses: list[Response], rolled_back: float) -> int:
    """Count the responses of version 2 to requests sent after all workers had returned to version 1."""
    return sum(r.sent_at > rolled_back and b'"model_version":"2"' in r.body for r in responses)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bento.promotion", description=__doc__)
    add_options(parser)
    parser.add_argument("--workers", type=int, default=1, help="workers of the Bento; default 1")
    parser.add_argument("--poll", type=float, default=5, help="SENTIMENT_POLL_SECONDS; default 5")
    parser.add_argument("--seconds", type=float, default=8, help="time before and after each swap; default 8")
    options = parser.parse_args()
    settings = {"SENTIMENT_POLL_SECONDS": str(options.poll), "SENTIMENT_WORKERS": str(options.workers)}
    with run_bento(options, versions=2, **settings) as bento:
        print(json.dumps(asyncio.run(measure(bento, options))))


if __name__ == "__main__":
    command.run(main)
