"""Recovery of abandoned trials: those whose process died before it could report a result."""

from typing import Any

import optuna
from mlflow import MlflowClient
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from pipelines.experiments.dvc_clone import end_group
from pipelines.experiments.optuna_warnings import ignore_experimental
from pipelines.sweep.process_owner import is_dead, is_experiment, machine
from pipelines.sweep.trial_runs import run_ids

MAX_RETRIES = 2


def fail_abandoned(study: optuna.Study, storage: RDBStorage, client: MlflowClient) -> None:
    """Fail and retry trials whose process on this machine died, and trials anywhere without a heartbeat."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_dead(trial):
            try:
                storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            except UpdateFinishedTrialError:
                continue  # another process has failed it already
            retry(study, trial, client)
    with ignore_experimental():
        optuna.storages.fail_stale_trials(study)  # calls `retry` through the storage's callback


def retry(study: optuna.Study, trial: FrozenTrial, client: MlflowClient) -> None:
    """End an abandoned trial's processes and MLflow runs, and enqueue its params up to MAX_RETRIES times."""
    group = trial.user_attrs.get("group")
    if (
        trial.user_attrs.get("machine") == machine()
        and group
        and is_experiment(group, trial.user_attrs.get("experiment", ""))
    ):
        end_group(group)
    for run_id in run_ids(study, trial.number, client, status="RUNNING"):
        client.set_terminated(run_id, "KILLED")
    retries = trial.user_attrs.get("retries", 0)
    if retries < MAX_RETRIES and (params := params_of(trial)):
        study.enqueue_trial(params, user_attrs={"retries": retries + 1})
        print(f"trial {trial.number}: its process died; a new trial will use the same params", flush=True)


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the trial's params: those it was enqueued with, if it has not asked for them yet."""
    return trial.params or trial.system_attrs.get("fixed_params", {})


def counts_towards_total(trial: FrozenTrial) -> bool:
    """Return False for an abandoned trial that is retried, and True for every other."""
    attrs = trial.user_attrs
    return trial.state != TrialState.FAIL or "error" in attrs or attrs.get("retries", 0) >= MAX_RETRIES
