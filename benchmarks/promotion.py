"""`python -m benchmarks.promotion`: a promotion and a rollback while 32 clients ask without a pause.

Prints one JSON object: requests sent and failed, latency with and without a swap, and of each swap how long
the command took that ops give, and how long after its start each worker answered with the other version.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bento import ROOT, MlflowServer, bento, metric, model_options, registry
from benchmarks.client import CLIENTS, Answer, Client, closed_loop, endless, milliseconds
from benchmarks.serving import processes

WITHIN = 120


def swap(
    mlflow: MlflowServer, port: int, version: str, workers: int, words: list[str]
) -> tuple[float, float, list[float]]:
    """Run `promote` with these words: when, how long it took, after how many seconds each worker followed."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "bentos.sentiment.promote", *words, "--json"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.url}
    took = 0.0
    after: list[float] = []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as promote:
        while len(after) < workers or not took:
            seconds = time.perf_counter() - began
            if seconds > WITHIN:
                promote.kill()
                raise TimeoutError(f"version {version} is not served after {WITHIN} seconds")
            if not took and promote.poll() is not None:
                took = seconds
                if promote.returncode:
                    raise RuntimeError(f"promote {' '.join(words)} exited with {promote.returncode}")
            done = int(metric(port, f'sentiment_model_workers{{model_version="{version}"'))
            after += [round(seconds, 2)] * (done - len(after))
            time.sleep(0.02)
    return began, round(took, 2), after


async def measure(client: Client, mlflow: MlflowServer, options: argparse.Namespace) -> dict[str, object]:
    texts = endless(options.validation, options.words)
    stopped = asyncio.Event()
    asking = asyncio.create_task(closed_loop(client, texts, CLIENTS, stopped))
    found: dict[str, object] = {}
    during: list[tuple[float, float]] = []
    # Both are the same model, so no gate has anything to compare.
    for name, version, words in (
        ("promotion", "2", ["--version", "2", "--force"]),
        ("rollback", "1", ["--rollback"]),
    ):
        await asyncio.sleep(options.seconds)
        began, took, after = await asyncio.to_thread(
            swap, mlflow, client.port, version, options.workers, words
        )
        during.append((began, began + max(took, after[-1])))
        found |= {f"{name}_command_seconds": took, f"{name}_served_after_seconds": after}
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
