"""The MLflow run of a training: starting or resuming it, logging its params and datasets."""

from collections.abc import Mapping
from typing import Any

import mlflow
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.pandas_dataset import from_pandas
from mlflow.exceptions import MlflowException

from pipelines.core.checkpoints import Checkpoints
from pipelines.core.params import Params
from pipelines.core.reviews import LABELS


def flatten(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the params under dotted names, as `dvc exp run -S` takes them."""
    flat: dict[str, Any] = {}
    for name, value in section.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def log_inputs(params: Params, train: pd.DataFrame, validation: pd.DataFrame, data_md5: str) -> None:
    """Log the params under their names in params.yaml, and both datasets with their digests."""
    mlflow.log_params(flatten(params.model_dump()))
    source = CodeDatasetSource(tags={"data.dvc": data_md5})
    for name, table in (("training", train), ("validation", validation)):
        # Labels are logged as text, because MLflow warns that integer columns cannot hold missing values.
        labelled = table.assign(label=table["label"].map(dict(enumerate(LABELS))))
        dataset = from_pandas(labelled, source=source, targets="label", name=f"reviews-{name}")
        mlflow.log_input(dataset, context=name)


def begin(checkpoints: Checkpoints, tags: Mapping[str, str]) -> mlflow.ActiveRun:
    """Resume the run of the interrupted training, or start a new one."""
    if checkpoints.run_id:
        try:
            run = mlflow.start_run(run_id=checkpoints.run_id)
            mlflow.set_tags(dict(tags))
            return run
        except MlflowException:
            print(f"run {checkpoints.run_id} is no longer in MLflow: training continues in a new run")
    run = mlflow.start_run(tags=dict(tags))
    checkpoints.record_run(run.info.run_id)
    return run
