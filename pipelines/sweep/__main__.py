"""`make sweep`: search the params of `train` with Optuna, tracked in DVC and MLflow; register the best run.

Trials end after `train`. The best are then exported and evaluated, with several seeds each. Rerunning
continues the study. Several processes, also on several machines, share its trials.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import mlflow
import optuna

from pipelines.core.errors import PipelineError, run_stage
from pipelines.core.mlflow_store import connect
from pipelines.core.params import load_params
from pipelines.experiments.dvc_clone import Workspace, environment_of_children, remove_abandoned, workspace
from pipelines.experiments.optuna_storage import storage_url
from pipelines.sweep import trial_table
from pipelines.sweep.finals import Finals, open_finals
from pipelines.sweep.recommendation import in_words, recommended, results
from pipelines.sweep.search import Search
from pipelines.sweep.study import digest, open_search
from pipelines.sweep.sweep_file import load_sweep

OUT = Path("results/sweep")
WORK = Path("var/sweep/work")


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.sweep", description=__doc__)
    parser.add_argument(
        "--trials", type=int, help="total number, including earlier trials (default: from sweep.yaml)"
    )
    parser.add_argument("--study", help="name (default: derived from data, params, space and code)")
    parser.add_argument("--jobs", type=int, default=1, help="processes to share the trials (default: 1)")
    options = parser.parse_args(words)
    for name in ("trials", "jobs"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name} is {value}, and must be at least 1")
    return options


def main() -> None:
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    params = load_params()
    sweep = load_sweep(params)
    client = connect()
    name = options.study or f"sweep-{digest(sweep, params)}"
    search = open_search(client, storage_url(), sweep, params, name, options.trials or sweep.trials)
    existing = len(search.study.get_trials(deepcopy=False))
    print(f"study {name}: {search.total} trials, of which {existing} exist already", flush=True)
    search.fail_abandoned()  # ends their processes before their folders are removed
    remove_abandoned(WORK)
    try:
        with (
            companions(name, search.total, options.jobs),
            workspace(Path.cwd(), WORK / str(os.getpid())) as clone,
        ):
            search.run(clone)
            finals = open_finals(search)
            finals.run(clone)
            finish(finals, params.registration.refuse_dirty, clone)
    except KeyboardInterrupt:
        raise PipelineError(
            f"interrupted: continue with `python -m pipelines.sweep --study {name} --trials {search.total}`"
        ) from None


@contextmanager
def companions(study: str, trials: int, jobs: int) -> Iterator[None]:
    """Run `jobs` - 1 further processes of the sweep, sharing the cores, until the block ends."""
    if jobs > 1:
        cores = joblib.cpu_count(only_physical_cores=True)  # fewer under a CPU quota
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // jobs)))
    command = [sys.executable, "-m", "pipelines.sweep", "--study", study, "--trials", str(trials)]
    # In separate sessions, so that Ctrl-C does not reach them twice.
    started = [subprocess.Popen(command, start_new_session=True) for _ in range(jobs - 1)]
    try:
        yield
    except BaseException:
        for process in started:
            process.terminate()  # not SIGINT, which processes started under nohup ignore
        raise
    finally:
        for process in started:
            process.wait()


def finish(finals: Finals, refuse_dirty: bool, clone: Workspace) -> None:
    """Write the comparison, log it to the sweep's run and register the best run, in one process only.

    Raises PipelineError if `register` accepts no finalist.
    """
    search = finals.search
    if not is_last(search, finals):
        print("the process that ran the last trial compares all trials and registers the best")
        return
    found = results(finals, refuse_dirty)
    trial_table.write(search.study, list(search.sweep.space), found, OUT)
    print(f"comparison of the trials: {OUT}/trials.csv, finals.csv and parallel_coordinates.html")
    for path in sorted(OUT.iterdir()):
        search.client.log_artifact(search.parent_run, str(path), "sweep")
    if not found[0].refused:
        search.client.log_metric(search.parent_run, "best_accuracy", found[0].accuracy)
        search.client.set_tag(search.parent_run, "sweep.recommended", found[0].best.experiment)
    search.client.set_terminated(search.parent_run)
    best = recommended(found)
    print(in_words(best, found, register(clone, best.best.run_id)))


def is_last(search: Search, finals: Finals) -> bool:
    """Return whether this process ran the last trial, or all trials had ended before it started."""
    ended = [
        (trial.datetime_complete or search.began, trial.number in part.own_trials)
        for part in (search, finals)
        for trial in part.reported
    ]
    when, is_own = max(ended)
    return is_own or when < search.began


def register(clone: Workspace, run_id: str) -> str:
    """Run the stage `register` on all runs with the data and split of this run; return the best run's id."""
    run_file = clone.folder / "results/train/run.json"
    run_file.parent.mkdir(parents=True, exist_ok=True)
    run_file.write_text(json.dumps({"run_id": run_id}) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.register"],
        cwd=clone.folder,
        env=environment_of_children({"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise PipelineError(
            (done.stderr.strip().splitlines() or ["register failed"])[-1].removeprefix("error: ")
        )
    print(done.stdout.strip())
    return str(clone.read("results/register/version.json")["run_id"])


if __name__ == "__main__":
    run_stage(main)
