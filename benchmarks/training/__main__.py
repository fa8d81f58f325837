"""`python -m benchmarks.training`: the stage `train` beside the stock example of transformers, in one run.

Both fine-tune the same encoder on results/prepare/train.csv with params.yaml, in turns of some seconds, to
the end. Stock means fp32, every text padded to train.max_tokens, shuffled. Leaves table.md, table.json and
plot.png, and what each said in a folder of its name.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import end_on_terminate
from benchmarks.serving.report import machine
from benchmarks.serving.run import say
from benchmarks.training import plot, table
from benchmarks.training.contenders import CONTENDERS
from benchmarks.training.learner import PREPARED
from benchmarks.training.turns import Learner, alternate, learner
from pipelines.core.errors import PipelineError
from pipelines.core.params import Params, load_params


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--reviews", type=int, help="of the training reviews, drawn at random; else all")
    parser.add_argument("--seconds", type=float, default=20, help="a turn; default %(default)s")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/training"))
    options = parser.parse_args(arguments)
    if options.reviews is not None and options.reviews < 1:
        parser.error(f"--reviews is {options.reviews}, and must be at least 1")
    if options.seconds <= 0:
        parser.error(f"--seconds is {options.seconds:g}, and must be above 0")
    return options


def train(options: argparse.Namespace) -> dict[str, Learner]:
    """Both, to the end. Raises BenchmarkError."""
    with contextlib.ExitStack() as stack:
        learners = {}
        for name in CONTENDERS:
            say(f"{name}: the first steps")
            learners[name] = stack.enter_context(learner(name, options.output / name, options.reviews))
        for name in alternate(learners, options.seconds):
            said = learners[name].progress()[-1]
            say(f"{name}: {said['tokens']:,} tokens, loss {said['loss']}")
    return learners


def report(learners: dict[str, Learner], params: Params, options: argparse.Namespace) -> None:
    measured = {name: table.rates(one.progress(), one.turns) for name, one in learners.items()}
    right = {name: np.load(one.folder / "right.npy") for name, one in learners.items()}
    rows = [table.row(name, measured[name], right[name]) for name in learners]
    found = table.ratios(measured["ours"], measured["stock"], (right["ours"], right["stock"]), params.seed)
    text = table.markdown(rows, found)
    facts = {"machine": machine(), "params": params.train.model_dump(), "reviews": options.reviews}
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "table.md").write_text(text)
    (options.output / "table.json").write_text(
        json.dumps(facts | table.as_json(rows, found), indent=2) + "\n"
    )
    plot.draw(
        {name: (one.progress(), one.turns) for name, one in learners.items()}, options.output / "plot.png"
    )
    print(f"\n{text}\nwritten to {options.output}: table.json, table.md, plot.png")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    end_on_terminate()
    try:
        params = load_params()
        if not (PREPARED / "train.csv").exists():
            raise BenchmarkError(f"{PREPARED}/train.csv is missing: make it with `dvc repro prepare`")
        report(train(options), params, options)
    except (BenchmarkError, PipelineError) as error:
        print(f"benchmarks.training: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: both trainings are ended, nothing is written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
