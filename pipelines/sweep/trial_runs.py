"""The MLflow runs of a trial."""

import optuna
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipelines.experiments.trial_identity import Identity


def run_ids(study: optuna.Study, number: int, client: MlflowClient, status: str = "") -> list[str]:
    """Return the ids of the trial's MLflow runs, newest first; with `status`, only of runs in this status."""
    conditions = [f"tags.`sweep.study` = '{study.study_name}'", f"tags.`sweep.trial` = '{number}'"]
    conditions += [f"attributes.status = '{status}'"] if status else []
    experiment = client.get_run(study.user_attrs["parent_run"]).info.experiment_id
    runs = client.search_runs([experiment], " and ".join(conditions), order_by=["start_time DESC"])
    return [run.info.run_id for run in runs]


def nest_if_restored(run_id: str, identity: Identity, client: MlflowClient) -> None:
    """Nest the run below the study's run if DVC restored its result from before the sweep."""
    if MLFLOW_PARENT_RUN_ID not in client.get_run(run_id).data.tags:
        for tag, value in identity.tags().items():
            client.set_tag(run_id, tag, value)
