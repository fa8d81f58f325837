"""What each change earns: differences to the unchanged params, review by review."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines.statistics.intervals import Counts, Interval, bootstrap

UNCHANGED = "unchanged"
DRAWS = 0
"""Seed of the bootstrap."""


@dataclass(frozen=True)
class Answers:
    """One run's: columns review_id, actual, predicted and probability (that the review is positive)."""

    change: str
    seed: int
    run_id: str
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Row:
    """A change: mean accuracy and log loss over the seeds, and what both gained, with intervals of 95 %."""

    change: str
    accuracy: float
    log_loss: float
    gained: Interval
    lost: Interval
    by_seed: dict[int, float]


def judged(predictions: pd.DataFrame) -> pd.DataFrame:
    """Columns right (0 or 1) and log_loss, by review_id."""
    positive = predictions["probability"].clip(1e-6, 1 - 1e-6)
    of_label = positive.where(predictions["actual"] == "positive", 1 - positive)
    right = (predictions["actual"] == predictions["predicted"]).astype(float)
    return pd.DataFrame({"right": right, "log_loss": -np.log(of_label)}).set_index(predictions["review_id"])


def difference(gained: pd.DataFrame, name: str) -> Interval:
    """Mean of a column, and its interval; a review that several seeds were asked about is drawn as one."""
    by_review = gained.groupby(level="review_id")[name].agg(["sum", "size"])
    sums, sizes = by_review["sum"].to_numpy(), by_review["size"].to_numpy()

    def drawn(counts: Counts) -> dict[str, npt.NDArray[np.float64]]:
        return {name: (counts @ sums) / (counts @ sizes)}

    return Interval(float(sums.sum() / sizes.sum()), *bootstrap(drawn, len(sums), DRAWS)[name])


def rows(found: Sequence[Answers]) -> list[Row]:
    """One per change, the unchanged params first: only seeds that have both count."""
    seen = {(one.change, one.seed): judged(one.predictions) for one in found}
    return [row(change, seen) for change in dict.fromkeys(change for change, _ in seen)]


def row(change: str, seen: dict[tuple[str, int], pd.DataFrame]) -> Row:
    seeds = [seed for name, seed in seen if name == change]
    gained = [seen[change, seed] - seen[UNCHANGED, seed] for seed in seeds]
    together, own = pd.concat(gained), pd.concat([seen[change, seed] for seed in seeds])
    return Row(
        change=change,
        accuracy=float(own["right"].mean()),
        log_loss=float(own["log_loss"].mean()),
        gained=difference(together, "right"),
        lost=difference(together, "log_loss"),
        by_seed={seed: float(one["right"].mean()) for seed, one in zip(seeds, gained, strict=True)},
    )


def markdown(found: Sequence[Row]) -> str:
    lines = [
        "| | accuracy | points gained (95 %) | by seed | log loss | difference (95 %) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        cells = [one.change, f"{one.accuracy:.4f}", "", "", f"{one.log_loss:.4f}", ""]
        if one.change != UNCHANGED:
            low, high = one.gained.low, one.gained.high
            cells[2] = f"{100 * one.gained.value:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
            cells[3] = ", ".join(f"{100 * value:+.2f}" for value in one.by_seed.values())
            cells[5] = f"{one.lost.value:+.4f} ({one.lost.low:+.4f} to {one.lost.high:+.4f})"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def as_json(found: Sequence[Answers], table: Sequence[Row]) -> dict[str, object]:
    runs = [{"change": one.change, "seed": one.seed, "run_id": one.run_id} for one in found]
    return {"runs": runs, "table": [asdict(one) for one in table]}
