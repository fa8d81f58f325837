"""`python -m benchmarks.promotion`: a promotion and a rollback while 32 clients ask without a pause.

Prints one JSON object: requests sent and failed, latency with and without a swap, and how long after the
alias moved the first and the last worker answered with the new version.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from benchmarks.bento import MlflowServer, bento, metric, model_options, registry
from benchmarks.client import CLIENTS, Answer, Client, closed_loop, endless, milliseconds
from benchmarks.serving import processes

WITHIN = 120


def swap(mlflow: MlflowServer, port: int, version: str, workers: int) -> tuple[float, list[float]]:
    """Move the alias; the moment of it, and after how many seconds each worker had followed."""
    mlflow.make_champion(version)
    moved = time.perf_counter()
    after: list[float] = []
    while len(after) < workers:
        if time.perf_counter() - moved > WITHIN:
            raise TimeoutError(f"version {version} is not served after {WITHIN} seconds")
        done = int(metric(port, f'sentiment_model_workers{{model_version="{version}"'))
        after += [round(time.perf_counter() - moved, 2)] * (done - len(after))
        time.sleep(0.02)
    return moved, after


async def measure(client: Client, mlflow: MlflowServer, options: argparse.Namespace) -> dict[str, object]:
    texts = endless(options.validation, options.words)
    stopped = asyncio.Event()
    asking = asyncio.create_task(closed_loop(client, texts, CLIENTS, stopped))
    found: dict[str, object] = {}
    during: list[tuple[float, float]] = []
    for name, version in (("promotion", "2"), ("rollback", "1")):
        await asyncio.sleep(options.seconds)
        moved, after = await asyncio.to_thread(swap, mlflow, client.port, version, options.workers)
        during.append((moved, moved + after[-1]))
        found[f"{name}_seconds"] = after
    await asyncio.sleep(options.seconds)
    stopped.set()
    answers = await asking
    in_swap = [answer for answer in answers if any(began <= answer.sent <= end for began, end in during)]
    return found | {
        "sent": len(answers),
        "failed": sum(answer.status != 200 for answer in answers),
        "late_answers_of_the_old": stale(answers, during),
        "swap_ms": milliseconds(in_swap),
        "calm_ms": milliseconds([answer for answer in answers if answer not in in_swap]),
    }


def stale(answers: list[Answer], during: list[tuple[float, float]]) -> int:
    """Answers of version 2 to what was asked after every worker had gone back to version 1."""
    return sum(answer.sent > during[-1][1] and b'"model_version":"2"' in answer.body for answer in answers)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promotion", description=__doc__)
    model_options(parser)
    parser.add_argument("--workers", type=int, default=1, help="default 1")
    parser.add_argument("--poll", type=float, default=5, help="SENTIMENT_POLL_SECONDS; default 5")
    parser.add_argument("--seconds", type=float, default=8, help="before and after each swap; default 8")
    options = parser.parse_args()
    processes.end_on_terminate()
    with tempfile.TemporaryDirectory(prefix="promotion-") as folder:
        scratch = Path(folder)
        with registry(scratch) as mlflow:
            mlflow.register(options.export, options.max_tokens)
            mlflow.register(options.export, options.max_tokens)
            mlflow.make_champion("1")
            settings = {
                "SENTIMENT_POLL_SECONDS": str(options.poll),
                "SENTIMENT_WORKERS": str(options.workers),
            }
            with bento(scratch, mlflow, **settings) as (_, port):
                print(json.dumps(asyncio.run(measure(Client(port), mlflow, options))))


if __name__ == "__main__":
    main()
