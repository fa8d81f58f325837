"""The table of an ablation: paired differences to the runs without a change, with confidence intervals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from pipelines.core.movies import movie_codes
from pipelines.statistics.intervals import Interval, mean_difference

UNCHANGED = "unchanged"
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Run:
    """An evaluated run.

    The columns of `predictions` are review_id, movie_id, actual, predicted and probability (of the positive
    class).
    """

    change: str
    seed: int
    run_id: str
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Row:
    """A change: means over the seeds, and differences to the unchanged runs with 95 % intervals."""

    change: str
    accuracy: float
    log_loss: float
    accuracy_gain: Interval
    log_loss_difference: Interval
    gain_by_seed: dict[int, float]


def score(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the columns correct (0 or 1) and log_loss, indexed by review_id and movie_id."""
    positive = predictions["probability"].clip(1e-6, 1 - 1e-6)
    of_actual = positive.where(predictions["actual"] == "positive", 1 - positive)
    correct = (predictions["actual"] == predictions["predicted"]).astype(float)
    columns = {"correct": correct, "log_loss": -np.log(of_actual)}
    return pd.DataFrame(columns).set_index([predictions["review_id"], predictions["movie_id"]])


def difference(by_seed: Sequence[pd.DataFrame], column: str) -> Interval:
    """Return the mean of a column, with the interval for other seeds and other movies."""
    movies = movie_codes(by_seed[0].index.get_level_values("movie_id"))
    return mean_difference(np.array([one[column] for one in by_seed]), movies, BOOTSTRAP_SEED)


def make_rows(runs: Sequence[Run]) -> list[Row]:
    """Return a row for each change, in order. Only the seeds for which the change did not fail count."""
    scores = {(run.change, run.seed): score(run.predictions) for run in runs}
    return [make_row(change, scores) for change in dict.fromkeys(change for change, _ in scores)]


def make_row(change: str, scores: dict[tuple[str, int], pd.DataFrame]) -> Row:
    seeds = [seed for name, seed in scores if name == change]
    by_seed = [scores[change, seed] - scores[UNCHANGED, seed] for seed in seeds]
    own = pd.concat([scores[change, seed] for seed in seeds])
    return Row(
        change=change,
        accuracy=float(own["correct"].mean()),
        log_loss=float(own["log_loss"].mean()),
        accuracy_gain=difference(by_seed, "correct"),
        log_loss_difference=difference(by_seed, "log_loss"),
        gain_by_seed={seed: float(one["correct"].mean()) for seed, one in zip(seeds, by_seed, strict=True)},
    )


def markdown(rows: Sequence[Row]) -> str:
    lines = [
        "| | Accuracy | Points gained (95 %) | By seed | Log loss | Difference (95 %) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row.change, f"{row.accuracy:.4f}", "", "", f"{row.log_loss:.4f}", ""]
        if row.change != UNCHANGED:
            gain, low, high = (100 * bound for bound in row.accuracy_gain)
            cells[2] = f"{gain:+.2f} ({low:+.2f} to {high:+.2f})"
            cells[3] = ", ".join(f"{100 * value:+.2f}" for value in row.gain_by_seed.values())
            loss, low, high = row.log_loss_difference
            cells[5] = f"{loss:+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def as_json(runs: Sequence[Run], rows: Sequence[Row]) -> dict[str, object]:
    listed = [{"change": run.change, "seed": run.seed, "run_id": run.run_id} for run in runs]
    return {"runs": listed, "table": [asdict(row) for row in rows]}
