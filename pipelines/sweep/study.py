"""The Optuna study of a sweep, opened or created, and the MLflow run that is the parent of its trials."""

import hashlib
import json
import time

import mlflow
import optuna
from mlflow import MlflowClient
from optuna.exceptions import DuplicatedStudyError

from pipelines.core.errors import PipelineError
from pipelines.core.mlflow_store import EXPERIMENT
from pipelines.core.params import Params
from pipelines.experiments.optuna_storage import open_storage
from pipelines.lineage.tags import data_md5
from pipelines.sweep.abandoned_trials import retry
from pipelines.sweep.search import Search
from pipelines.sweep.sweep_file import Sweep, baseline

CREATION_SECONDS = 30


def open_search(
    client: MlflowClient, url: str, sweep: Sweep, params: Params, name: str, total: int
) -> Search:
    """Open the study `name`, creating it and its parent MLflow run if necessary.

    Raises PipelineError if an existing study has other data, params or space.
    """
    storage = open_storage(url, on_stale=lambda study, trial: retry(study, trial, client))
    own_digest = digest(sweep, params)
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
        study.set_user_attr("digest", own_digest)
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        wait_for(study, "parent_run")
    if study.user_attrs.get("digest", own_digest) != own_digest:
        raise PipelineError(
            f"study {name} has other data, params or space: omit --study, or choose another name"
        )
    if "parent_run" not in study.user_attrs:
        experiment = mlflow.set_experiment(EXPERIMENT).experiment_id
        run = client.create_run(experiment, tags={"sweep.study": name}, run_name=name)
        study.set_user_attr("parent_run", run.info.run_id)
    return Search(study, storage, client, sweep, params, total)


def digest(sweep: Sweep, params: Params) -> str:
    """Return a hash of the data, the space and the params outside it; equal hashes mean comparable trials."""
    fixed = params.model_dump()
    fixed["train"] = {
        name: value for name, value in fixed["train"].items() if f"train.{name}" not in sweep.space
    }
    facts = [data_md5(), fixed, sweep.model_dump(include={"space"}), baseline(sweep, params)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def wait_for(study: optuna.Study, attribute: str) -> None:
    """Wait up to CREATION_SECONDS for the process that creates the study to set the attribute."""
    deadline = time.monotonic() + CREATION_SECONDS
    while attribute not in study.user_attrs and time.monotonic() < deadline:
        time.sleep(0.2)
