"""The MLflow run of a training: starting or resuming it, logging its params and datasets."""

import logging
import os
from collections.abc import Mapping

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException

from pipelines.core.checkpoints import Checkpoints
from pipelines.core.params import Params, logged_params
from pipelines.core.reviews import LABELS


def log_inputs(params: Params, train: pd.DataFrame, validation: pd.DataFrame, data_md5: str) -> None:
    """Log the params under their names in params.yaml, and both datasets with their digests."""
    mlflow.log_params(logged_params(params))
    source = CodeDatasetSource(tags={"data.dvc": data_md5})
    for name, table in (("training", train), ("validation", validation)):
        # Labels are logged as text, because MLflow warns that integer columns cannot hold missing values.
        labelled = table.assign(label=table["label"].map(dict(enumerate(LABELS))))
        dataset = from_pandas(labelled, source=source, targets="label", name=f"reviews-{name}")
        mlflow.log_input(dataset, context=name)


def begin(
    client: MlflowClient, checkpoints: Checkpoints, tags: Mapping[str, str], params: Params
) -> mlflow.ActiveRun:
    """Resume the run of the interrupted training, or start a new one.

    MLflow does not change the params of a run. After an edit that leaves the weights as they are, such as one
    of a later stage's section, the training therefore continues in a new run, which gets the whole history.
    """
    earlier = recorded_run(client, checkpoints)
    if earlier and earlier.data.params in ({}, logged_params(params)):
        run = mlflow.start_run(run_id=earlier.info.run_id, log_system_metrics=system_metrics())
        mlflow.set_tags(dict(tags))
        return run
    run = mlflow.start_run(tags=dict(tags), log_system_metrics=system_metrics())
    checkpoints.record_run(run.info.run_id)
    if earlier:
        print(f"params differ from those of run {earlier.info.run_id}: training continues in a new run")
        client.set_tag(earlier.info.run_id, "continued_in", run.info.run_id)
        client.set_terminated(earlier.info.run_id, "KILLED")
    return run


def system_metrics() -> bool | None:
    """Have the run log the use of processor, memory, disk and GPU, unless MLflow's variable is set."""
    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    return None if "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING" in os.environ else True


def recorded_run(client: MlflowClient, checkpoints: Checkpoints) -> Run | None:
    """Return the run that the training started, or None if there is none or it was deleted."""
    if not (run_id := checkpoints.run_id):
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException:
        run = None
    if run is None or run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        print(f"run {run_id} is no longer in MLflow: training continues in a new run")
        return None
    return run
