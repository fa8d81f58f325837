"""Measure the stage `train` beside busy processes, with each way in which its threads can wait for others.

The trainings and the numbers of busy processes alternate in time slices. Writes table.json and table.md.
"""

import argparse
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import command, results
from benchmarks.command import BenchmarkError, print_progress
from benchmarks.training import table
from benchmarks.training.time_slices import TrainingProcess, start
from benchmarks.training.worker import PREPARED

WAYS = {
    "stage": {},
    "always spinning": {"GOMP_SPINCOUNT": "300000"},
    "always sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
}
"""Environment variables of libgomp; without any, the stage spins unless other processes want the cores."""

SETTLING_SECONDS = 5
"""The part at the start of a time slice that is not measured: the stage reacts within two seconds."""

SEED = 1
Rates = dict[str, dict[int, list[float]]]


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield stopped processes that would each use a core; kill them at the end."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(options: argparse.Namespace) -> Rates:
    """Return the tokens per second of each time slice, by way and number of neighbours."""
    found: Rates = {name: {count: [] for count in options.neighbours} for name in WAYS}
    with contextlib.ExitStack() as stack:
        neighbours = stack.enter_context(busy_processes(max(options.neighbours)))
        trainings = {
            name: stack.enter_context(start("stage", options.output / name, options.reviews, SEED, settings))
            for name, settings in WAYS.items()
        }
        for number in range(options.rounds):
            for count in options.neighbours:
                for name, training in trainings.items():
                    found[name][count].append(one_slice(training, neighbours[:count], options.seconds))
            print_progress(f"round {number + 1} of {options.rounds}")
    return found


def one_slice(training: TrainingProcess, neighbours: list[subprocess.Popen[bytes]], seconds: float) -> float:
    """Train beside these processes, and return the tokens per second after the settling time.

    Raises BenchmarkError if the training ends.
    """
    for process in neighbours:
        process.send_signal(signal.SIGCONT)
    unfinished = training.run(SETTLING_SECONDS + seconds)
    for process in neighbours:
        process.send_signal(signal.SIGSTOP)
    if not unfinished:
        raise BenchmarkError("the training ended: increase --reviews, or lower --rounds or --seconds")
    began, end = training.slices[-1]
    (rate,) = table.rates(training.progress(), [(began + SETTLING_SECONDS, end)])
    return rate.per_second if rate.seconds else 0.0


def markdown(found: Rates) -> str:
    """Return medians, and their ratio to the stage's without neighbours."""
    alone = median(found["stage"][0]) or float("nan")
    counts = list(found["stage"])
    lines = [
        "| Tokens/s beside busy processes | " + " | ".join(map(str, counts)) + " |",
        "| --- |" + " --- |" * len(counts),
    ]
    for name, rates in found.items():
        cells = [f"{median(rates[count]):,.0f} ({median(rates[count]) / alone:.2f})" for count in counts]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.neighbours", description=__doc__)
    parser.add_argument("--reviews", type=int, help="size of a random sample to train on; default: all")
    parser.add_argument("--seconds", type=float, default=10, help="measured in a slice; default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/benchmarks/neighbours"),
        help="folder for the results; default %(default)s",
    )
    options = parser.parse_args(arguments)
    options.neighbours = (0, 1, 2)
    if not (PREPARED / "train.csv").exists():
        raise BenchmarkError(f"{PREPARED}/train.csv is missing: create it with `dvc repro prepare`")
    found = measure(options)
    results.write(options.output, {"tokens_per_second": found}, markdown(found))


if __name__ == "__main__":
    command.run(main)
