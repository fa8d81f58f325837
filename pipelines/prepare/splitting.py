"""The split of the reviews into training, calibration and validation reviews, stratified by label."""

import pandas as pd
from sklearn.model_selection import train_test_split

from pipelines.core.errors import PipelineError
from pipelines.core.params import Params


def split(reviews: pd.DataFrame, params: Params) -> dict[str, pd.DataFrame]:
    """Rows for `train`, `calibration` and `validation`, the same share of each label, in the data's order.

    The calibration reviews are taken from what is left for training, so the validation reviews stay the
    same whatever their number.
    """
    fractions = params.prepare
    rest, validation = apart(reviews, fractions.validation_fraction, params.seed)
    train, calibration = apart(rest, fractions.calibration_fraction, params.seed)
    return {"train": train, "calibration": calibration, "validation": validation}


def apart(reviews: pd.DataFrame, fraction: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The reviews but for a fraction, and that fraction. Raises PipelineError when there are too few."""
    try:
        rest, taken = train_test_split(
            reviews, test_size=fraction, stratify=reviews["label"], random_state=seed
        )
    except ValueError as error:
        raise PipelineError(
            f"{len(reviews):,} reviews cannot be split by {fraction}: {error} Ingest more, or raise "
            "prepare.calibration_fraction or prepare.validation_fraction."
        ) from None
    return rest.sort_index(), taken.sort_index()
