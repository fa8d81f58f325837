"""Measure the gain in accuracy from each change of a parameter.

For each seed, the pipeline is trained and evaluated without a change and with each change alone. All runs
classify the same validation reviews. Each run is the DVC experiment
ablation-SEED-NAME-VALUE and an MLflow run. Results in DVC's cache are not computed again, so the same command
resumes after an interruption. Writes table.json, table.md and plot.png.
"""

import argparse
import os
import re
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd

from benchmarks import command, results
from benchmarks.ablation import plot, table
from benchmarks.ablation.table import UNCHANGED, Run
from benchmarks.command import BenchmarkError, print_progress
from pipelines.core.mlflow_store import connect
from pipelines.core.params import load_params
from pipelines.experiments.dvc_clone import Workspace, remove_abandoned, workspace

CLONES = Path("var/ablation")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument(
        "changes", nargs="+", metavar="NAME=VALUE", help="a change of params.yaml, as for `dvc exp run -S`"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="seeds of the trainings; default: train.seed of params.yaml"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/benchmarks/ablation"),
        help="folder for the results; default %(default)s",
    )
    options = parser.parse_args(arguments)
    if wrong := [change for change in options.changes if not re.fullmatch(r"[\w.]+=.+", change)]:
        parser.error(f"{wrong[0]} is not of the form NAME=VALUE, for example train.layer_decay=0.9")
    if options.seeds and min(options.seeds) < 0:
        parser.error(f"--seeds must be at least 0, not {min(options.seeds)}")
    return options


def run_pipeline(clone: Workspace, seed: int, change: str, logs: Path) -> Run:
    """Train, export and evaluate with the change. Raises BenchmarkError naming the log if a stage fails."""
    overrides = [f"train.seed={seed}"] + ([change] if change != UNCHANGED else [])
    name = re.sub(r"[^\w.]+", "-", f"ablation-{seed}-{change}")
    log = logs / f"{name}.log"
    environment = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    outcome = clone.run(name, overrides, environment, log, started=lambda _: None)
    if outcome.code:
        raise BenchmarkError(f"{name} failed: see {log}")
    print_progress(f"{name}: accuracy {outcome.accuracy:.4f}, MLflow run {outcome.run_id}")
    predictions = pd.read_csv(
        clone.folder / "results/evaluate/predictions.csv", dtype={"review_id": str}, keep_default_na=False
    )
    return Run(change, seed, outcome.run_id, predictions)


def run_all(changes: list[str], seeds: list[int], logs: Path) -> list[Run]:
    """Run the pipeline for each seed, without a change and with each change.

    A change that fails is reported and omitted. Raises BenchmarkError if the run without a change fails.
    """
    logs.mkdir(parents=True, exist_ok=True)
    runs = []
    remove_abandoned(CLONES)
    with workspace(Path.cwd(), CLONES / str(os.getpid())) as clone:
        for seed in seeds:
            runs.append(run_pipeline(clone, seed, UNCHANGED, logs))
            for change in changes:
                try:
                    runs.append(run_pipeline(clone, seed, change, logs))
                except BenchmarkError as error:
                    print_progress(str(error))
    return runs


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    params = load_params()
    connect()
    runs = run_all(options.changes, options.seeds or [params.train.seed], options.output / "logs")
    rows = table.make_rows(runs)
    content = {"params": params.model_dump(), **table.as_json(runs, rows)}
    results.write(options.output, content, table.markdown(rows), partial(plot.draw, rows))


if __name__ == "__main__":
    command.run(main, interrupted="run the same command again to resume; finished runs are kept")
