"""Compare the stage `train` with the stock training example of transformers.

Both fine-tune the same encoder on results/prepare/train.csv with the parameters of params.yaml. They
alternate in time slices until both have finished, so that a change in the machine's speed affects both. The
stock example trains in fp32, pads every text to train.max_tokens and shuffles. Writes table.json, table.md
and plot.png, and a folder with the log and progress of each.
"""

import argparse
import contextlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import command, results
from benchmarks.command import BenchmarkError, print_progress
from benchmarks.training import plot, table
from benchmarks.training.contenders import CONTENDERS
from benchmarks.training.time_slices import TrainingProcess, alternate, start
from benchmarks.training.worker import PREPARED
from pipelines.core.movies import movie_codes
from pipelines.core.params import load_params


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument(
        "--reviews", type=int, help="size of a random sample to train on; default: all reviews"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="seeds of the trainings; default: train.seed of params.yaml"
    )
    parser.add_argument(
        "--seconds", type=float, default=20, help="length of a time slice; default %(default)s"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/benchmarks/training"),
        help="folder for the results; default %(default)s",
    )
    options = parser.parse_args(arguments)
    if options.reviews is not None and options.reviews < 1:
        parser.error(f"--reviews must be at least 1, not {options.reviews}")
    if options.seconds <= 0:
        parser.error(f"--seconds must be greater than 0, not {options.seconds:g}")
    return options


def train(options: argparse.Namespace, seed: int) -> dict[str, TrainingProcess]:
    """Train all contenders to the end. Raises BenchmarkError."""
    with contextlib.ExitStack() as stack:
        trainings = {}
        for name in CONTENDERS:
            print_progress(f"{name}, seed {seed}: warm-up")
            folder = options.output / name / str(seed)
            trainings[name] = stack.enter_context(start(name, folder, options.reviews, seed))
        for name in alternate(trainings, options.seconds):
            last = trainings[name].progress()[-1]
            print_progress(f"{name}: {last['tokens']:,} tokens, loss {last['loss']}")
    return trainings


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    params = load_params()
    if not (PREPARED / "train.csv").exists():
        raise BenchmarkError(f"{PREPARED}/train.csv is missing: create it with `dvc repro prepare`")
    seeds = options.seeds or [params.train.seed]
    by_seed = [train(options, seed) for seed in seeds]
    rates = {
        name: [rate for one in by_seed for rate in table.rates(one[name].progress(), one[name].slices)]
        for name in CONTENDERS
    }
    correct = {
        name: np.array([np.load(one[name].folder / "correct.npy") for one in by_seed]) for name in CONTENDERS
    }
    movies = movie_codes(pd.read_csv(PREPARED / "validation.csv", dtype={"movie_id": str})["movie_id"])
    rows = [table.make_row(name, rates[name], correct[name], movies) for name in CONTENDERS]
    compared = table.compare(rates["stage"], rates["stock"], correct["stage"], correct["stock"], movies)
    content = {"params": params.train.model_dump(), "reviews": options.reviews, "seeds": seeds}
    results.write(
        options.output,
        content | table.as_json(rows, compared),
        table.markdown(rows, compared),
        partial(plot.draw, {name: (one.progress(), one.slices) for name, one in by_seed[0].items()}),
    )


if __name__ == "__main__":
    command.run(main)
