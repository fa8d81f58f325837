"""Comparison of a sweep's trials and finalists: tables and plots."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.trial import TrialState

from pipelines.experiments.optuna_warnings import ignore_experimental
from pipelines.sweep.recommendation import Finalist


def table(study: optuna.Study, names: Sequence[str], found: Sequence[Finalist]) -> pd.DataFrame:
    """Return one row per finished or pruned trial: the finalists in their order, then by accuracy.

    Columns: number, state, DVC experiment, MLflow run, the trained model's accuracy (empty if pruned), the
    served form's mean accuracy over the seeds and why `register` refuses it (finalists only), the params
    `names`, and duration in seconds.
    """
    finalists = {one.number: one for one in found}
    places = {number: place for place, number in enumerate(finalists)}
    rows = []
    for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)):
        done, finalist = trial.state == TrialState.COMPLETE, finalists.get(trial.number)
        rows.append(
            {
                "trial": trial.number,
                "state": "finalist" if finalist else "finished" if done else "pruned",
                "experiment": trial.user_attrs["experiment"] if done else "",
                "run_id": trial.user_attrs.get("run_id", ""),
                "trained_accuracy": trial.value if done else None,
                "served_accuracy": finalist.accuracy if finalist else None,
                "refused": finalist.refused if finalist else "",
                **{name: trial.params[name] for name in names},
                "seconds": round(trial.duration.total_seconds()) if trial.duration else None,
                "place": places.get(trial.number, len(places)),
            }
        )
    ordered = pd.DataFrame(rows).sort_values(
        ["place", "trained_accuracy", "trial"], ascending=[True, False, True]
    )
    return ordered.drop(columns="place")


def finals_table(found: Sequence[Finalist]) -> pd.DataFrame:
    """Return one row per finalist and seed, in the finalists' order.

    Columns: number of the trial, seed, DVC experiment, MLflow run, the accuracy of the trial's trained model
    and of the served form, and why `register` refuses the run.
    """
    return pd.DataFrame(
        {
            "trial": one.number,
            "seed": final.seed,
            "experiment": final.experiment,
            "run_id": final.run_id,
            "trained_accuracy": one.trial.value,
            "served_accuracy": final.accuracy,
            "refused": final.refused,
        }
        for one in found
        for final in one.finals
    )


def write(study: optuna.Study, names: Sequence[str], found: Sequence[Finalist], folder: Path) -> None:
    """Write trials.csv, finals.csv, finals.png, parallel_coordinates.html and parallel_coordinates.png."""
    folder.mkdir(parents=True, exist_ok=True)
    table(study, names, found).to_csv(folder / "trials.csv", index=False, lineterminator="\n")
    finals_table(found).to_csv(folder / "finals.csv", index=False, lineterminator="\n")
    draw_finals(found, folder / "finals.png")
    page = optuna.visualization.plot_parallel_coordinate(study, params=list(names), target_name="accuracy")
    page.write_html(folder / "parallel_coordinates.html")
    with ignore_experimental(), mpl.rc_context():
        axes = optuna.visualization.matplotlib.plot_parallel_coordinate(
            study, params=list(names), target_name="accuracy"
        )
        if figure := axes.get_figure(root=True):
            figure.set_size_inches(3 + 2 * len(names), 5)
            figure.savefig(folder / "parallel_coordinates.png", bbox_inches="tight")


def draw_finals(found: Sequence[Finalist], path: Path) -> None:
    """Draw each finalist's accuracy with every seed, and their mean; refused ones are grey."""
    figure = Figure(figsize=(6, 1.5 + 0.5 * len(found)), layout="constrained")
    axes = figure.subplots()
    for row, one in enumerate(found):
        colour = "grey" if one.refused else "C0"
        accuracies = [final.accuracy for final in one.finals]
        axes.plot(accuracies, [row] * len(accuracies), "o", color=colour, alpha=0.5)
        axes.plot(one.accuracy, row, "|", color=colour, markersize=16, markeredgewidth=2)
    labels = [f"trial {one.number}{' (refused)' if one.refused else ''}" for one in found]
    axes.set_yticks(range(len(found)), labels)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("accuracy of the served form on the validation reviews: each seed, and the mean")
    figure.savefig(path)
