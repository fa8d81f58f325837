"""`make sweep`: search the params of `train` with Optuna, tracked in DVC and MLflow; register the best run.

Rerunning continues the study. Several processes, also on several machines, share its trials.
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
from optuna.trial import TrialState

from pipelines.core.errors import PipelineError, run_stage
from pipelines.core.mlflow_store import connect
from pipelines.core.params import load_params
from pipelines.experiments.dvc_clone import Workspace, environment_of_children, remove_abandoned, workspace
from pipelines.experiments.optuna_storage import storage_url
from pipelines.sweep import trial_table
from pipelines.sweep.search import Search
from pipelines.sweep.study import digest, open_search
from pipelines.sweep.sweep_file import Sweep, load_sweep

OUT = Path("results/sweep")
WORK = Path("var/sweep/work")


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.sweep", description=__doc__)
    parser.add_argument(
        "--trials", type=int, help="total number, including earlier trials (default: from sweep.yaml)"
    )
    parser.add_argument("--study", help="name (default: derived from data, space and params)")
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
            finish(search, sweep, clone)
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


def finish(search: Search, sweep: Sweep, clone: Workspace) -> None:
    """Write the comparison, log it to the study's run and register the best run, in one process only.

    Raises PipelineError if no trial finished or no run can be registered.
    """
    finished = search.study.get_trials(states=(TrialState.COMPLETE,))
    if not finished:
        raise PipelineError(f"no trial has finished; their logs are in {search.logs}")
    if not is_last(search):
        print("the process that ran the last trial compares all trials and registers the best")
        return
    trial_table.write(search.study, list(sweep.space), OUT)
    print(f"comparison of the trials: {OUT}/trials.csv and {OUT}/parallel_coordinates.html")
    best = search.study.best_trial
    for path in sorted(OUT.iterdir()):
        search.client.log_artifact(search.parent_run, str(path), "sweep")
    search.client.log_metric(search.parent_run, "best_accuracy", best.value or 0.0)
    search.client.set_terminated(search.parent_run)
    register(clone, best.user_attrs["run_id"])
    print(f"to use the best trial's params and results: `dvc exp apply {best.user_attrs['experiment']}`")


def is_last(search: Search) -> bool:
    """Return whether this process ran the last trial, or all trials had ended before it started."""
    ended = [trial for trial in search.study.get_trials(deepcopy=False) if trial.datetime_complete]
    last = max(ended, key=lambda trial: (trial.datetime_complete, trial.number))
    return last.number in search.own_trials or (not search.own_trials and search.started_after_last_trial)


def register(clone: Workspace, run_id: str) -> None:
    """Run the stage `register` on all runs with the same data and split as this run."""
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


if __name__ == "__main__":
    run_stage(main)
