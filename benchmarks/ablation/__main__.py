"""`python -m benchmarks.ablation NAME=VALUE ...`: what each change of a param earns, beside none at all.

Every change is trained and evaluated for each seed, as the DVC experiment ablation-SEED-NAME-VALUE and in an
MLflow run. A seed has a split of its own: what is compared was asked about the same reviews. What DVC has in
its cache is not trained again, so that the same command goes on. Leaves table.md, table.json and plot.png.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

import mlflow
import pandas as pd

from benchmarks.ablation import plot, table
from benchmarks.ablation.table import UNCHANGED, Answers
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import end_on_terminate
from benchmarks.serving.report import machine
from benchmarks.serving.run import say
from pipelines.core.errors import PipelineError
from pipelines.core.mlflow_store import connect
from pipelines.core.params import load_params
from pipelines.experiments.dvc_clone import Workspace, remove_abandoned, workspace

WORK = Path("var/ablation")


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("changes", nargs="+", metavar="NAME=VALUE", help="as `dvc exp run -S` takes them")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: the seed of params.yaml")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/ablation"))
    options = parser.parse_args(words)
    if wrong := [change for change in options.changes if not re.fullmatch(r"[\w.]+=.+", change)]:
        parser.error(f"{wrong[0]} is no NAME=VALUE, such as train.layer_decay=0.9")
    if options.seeds and min(options.seeds) < 0:
        parser.error(f"--seeds has {min(options.seeds)}, and must be at least 0")
    return options


def answers(place: Workspace, seed: int, change: str, logs: Path) -> Answers:
    """Train, export and evaluate with the change. Raises BenchmarkError naming the log when that fails."""
    overrides = [f"seed={seed}"] + ([change] if change != UNCHANGED else [])
    name = re.sub(r"[^\w.]+", "-", f"ablation-{seed}-{change}")
    log = logs / f"{name}.log"
    environment = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    outcome = place.run(name, overrides, environment, log, started=lambda _: None)
    if outcome.code:
        raise BenchmarkError(f"{name} failed: see {log}")
    say(f"{name}: accuracy {outcome.accuracy:.4f}, MLflow run {outcome.run_id}")
    predictions = pd.read_csv(
        place.folder / "results/evaluate/predictions.csv", dtype={"review_id": str}, keep_default_na=False
    )
    return Answers(change, seed, outcome.run_id, predictions)


def ask(options: argparse.Namespace, seeds: list[int]) -> list[Answers]:
    """All runs, seed by seed; a change that fails is said and left out."""
    logs = options.output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    found = []
    remove_abandoned(WORK)
    with workspace(Path.cwd(), WORK / str(os.getpid())) as place:
        for seed in seeds:
            found.append(answers(place, seed, UNCHANGED, logs))
            for change in options.changes:
                try:
                    found.append(answers(place, seed, change, logs))
                except BenchmarkError as error:
                    say(str(error))
    return found


def report(found: list[Answers], options: argparse.Namespace) -> None:
    rows = table.rows(found)
    text = table.markdown(rows)
    facts = {"machine": machine(), "params": load_params().model_dump()}
    (options.output / "table.md").write_text(text)
    (options.output / "table.json").write_text(
        json.dumps(facts | table.as_json(found, rows), indent=2) + "\n"
    )
    plot.draw(rows, options.output / "plot.png")
    print(f"\n{text}\nwritten to {options.output}: table.json, table.md, plot.png")


def main(words: list[str] | None = None) -> int:
    options = parse(words)
    end_on_terminate()
    try:
        connect()
        report(ask(options, options.seeds or [load_params().seed]), options)
    except (BenchmarkError, PipelineError) as error:
        print(f"benchmarks.ablation: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on with what is not trained yet", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
