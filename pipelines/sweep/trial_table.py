"""Comparison of a sweep's trials: a table and a parallel-coordinates plot."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import optuna
import pandas as pd
from optuna.trial import TrialState

from pipelines.experiments.optuna_warnings import ignore_experimental


def table(study: optuna.Study, names: Sequence[str]) -> pd.DataFrame:
    """Return one row per finished or pruned trial, best first.

    Columns: number, state, DVC experiment, MLflow run, accuracy (empty if pruned), the params `names`, and
    duration in seconds.
    """
    rows = []
    for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)):
        done = trial.state == TrialState.COMPLETE
        rows.append(
            {
                "trial": trial.number,
                "state": "finished" if done else "pruned",
                "experiment": trial.user_attrs.get("experiment", ""),
                "run_id": trial.user_attrs.get("run_id", ""),
                "accuracy": trial.value if done else None,
                **{name: trial.params[name] for name in names},
                "seconds": round(trial.duration.total_seconds()) if trial.duration else None,
            }
        )
    return pd.DataFrame(rows).sort_values(["accuracy", "trial"], ascending=[False, True])


def write(study: optuna.Study, names: Sequence[str], folder: Path) -> None:
    """Write trials.csv and, if a trial finished, parallel_coordinates.html and .png."""
    folder.mkdir(parents=True, exist_ok=True)
    table(study, names).to_csv(folder / "trials.csv", index=False, lineterminator="\n")
    if not study.get_trials(states=(TrialState.COMPLETE,), deepcopy=False):
        return
    page = optuna.visualization.plot_parallel_coordinate(study, params=list(names), target_name="accuracy")
    page.write_html(folder / "parallel_coordinates.html")
    with ignore_experimental(), mpl.rc_context():
        axes = optuna.visualization.matplotlib.plot_parallel_coordinate(
            study, params=list(names), target_name="accuracy"
        )
        if figure := axes.get_figure(root=True):
            figure.set_size_inches(3 + 2 * len(names), 5)
            figure.savefig(folder / "parallel_coordinates.png", bbox_inches="tight")
