"""The split into training, calibration and validation reviews, stratified by label."""

import pandas as pd
from sklearn.model_selection import train_test_split

from pipelines.core.errors import PipelineError
from pipelines.core.params import Params


def split(reviews: pd.DataFrame, params: Params) -> dict[str, pd.DataFrame]:
    """Return the parts `train`, `calibration` and `validation`, stratified by label, in the data's order.

    The validation reviews are split off first, so they do not depend on the calibration fraction.
    """
    fractions = params.prepare
    rest, validation = hold_out(reviews, fractions.validation_fraction, params.seed)
    train, calibration = hold_out(rest, fractions.calibration_fraction, params.seed)
    return {"train": train, "calibration": calibration, "validation": validation}


def hold_out(reviews: pd.DataFrame, fraction: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the remaining and the held-out reviews. Raises PipelineError if there are too few reviews."""
    try:
        rest, held_out = train_test_split(
            reviews, test_size=fraction, stratify=reviews["label"], random_state=seed
        )
    except ValueError as error:
        raise PipelineError(
            f"{len(reviews):,} reviews cannot be split by {fraction}: {error} Ingest more, or raise "
            "prepare.calibration_fraction or prepare.validation_fraction."
        ) from None
    return rest.sort_index(), held_out.sort_index()
