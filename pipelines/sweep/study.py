"""The Optuna study of a sweep, opened or created, and the MLflow run that is the parent of its trials."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import mlflow
import optuna
import yaml
from mlflow import MlflowClient
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RDBStorage

from pipelines.core.errors import PipelineError
from pipelines.core.mlflow_store import EXPERIMENT
from pipelines.core.params import Params
from pipelines.core.wheels import sha256
from pipelines.experiments.optuna_storage import open_storage
from pipelines.lineage.tags import data_md5
from pipelines.sweep.abandoned_trials import retry
from pipelines.sweep.search import Search
from pipelines.sweep.sweep_file import Sweep, baseline

CREATION_SECONDS = 30

# The stages of which a trial and, on top, a finalist consist.
TRAINING_STAGES = ("prepare", "pretrain", "train")
EVALUATION_STAGES = ("export", "evaluate")


def open_search(
    client: MlflowClient, url: str, sweep: Sweep, params: Params, name: str, total: int
) -> Search:
    """Open the study `name`, creating it and its parent MLflow run if necessary.

    Raises PipelineError if an existing study has other data, params, space or code.
    """
    storage = open_storage(url, on_stale=lambda study, trial: retry(study, trial, client))
    own_facts = facts(sweep, params)
    study, created = create_or_load(storage, name)
    if not created:
        wait_for(study, "parent_run")
    if "facts" not in study.user_attrs and not study.get_trials(deepcopy=False):
        study.set_user_attr("facts", own_facts)
    earlier = study.user_attrs.get("facts", {})
    if differing := [fact for fact, sha256 in own_facts.items() if earlier.get(fact) != sha256]:
        raise PipelineError(
            f"study {name} was started with another {' and another '.join(differing)}, and its trials cannot "
            "be compared with new ones: omit --study, or choose another name"
        )
    if "parent_run" not in study.user_attrs:
        experiment = mlflow.set_experiment(EXPERIMENT).experiment_id
        run = client.create_run(experiment, tags={"sweep.study": name}, run_name=name)
        study.set_user_attr("parent_run", run.info.run_id)
    return Search(study, storage, client, sweep=sweep, params=params, total=total)


def create_or_load(storage: RDBStorage, name: str) -> tuple[optuna.Study, bool]:
    """Return the study `name`, and whether this process created it."""
    try:
        return optuna.create_study(storage=storage, study_name=name, direction="maximize"), True
    except DuplicatedStudyError:
        return optuna.load_study(storage=storage, study_name=name), False


def digest(sweep: Sweep, params: Params) -> str:
    """Return a hash of what trials need to have in common to be comparable."""
    return _sha256(facts(sweep, params))[:8]


def facts(sweep: Sweep, params: Params) -> dict[str, str]:
    """Return the hash of each thing that trials need to have in common, by its name in an error."""
    fixed = params.model_dump()
    fixed["train"] = {
        name: value for name, value in fixed["train"].items() if f"train.{name}" not in sweep.space
    }
    return {
        "version of the data": data_md5(),
        "value in params.yaml": _sha256([fixed, baseline(sweep, params)]),
        "space in sweep.yaml": _sha256(sweep.model_dump(include={"space"})),
        f"code of {', '.join(TRAINING_STAGES)}": code_sha256(TRAINING_STAGES),
    }


def code_sha256(stages: Sequence[str], pipeline: Path = Path("dvc.yaml")) -> str:
    """Return a hash of the code that decides the results of these stages: the `deps` in dvc.yaml."""
    known = yaml.safe_load(pipeline.read_text())["stages"]
    deps = {dep for stage in stages for dep in known[stage]["deps"] if dep.startswith("pipelines/")}
    files = sorted(path for dep in deps for path in (pipeline.parent / dep).rglob("*.py"))
    return _sha256([(path.relative_to(pipeline.parent).as_posix(), sha256(path)) for path in files])


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def wait_for(study: optuna.Study, attribute: str) -> None:
    """Wait up to CREATION_SECONDS for the process that creates the study to set the attribute."""
    deadline = time.monotonic() + CREATION_SECONDS
    while attribute not in study.user_attrs and time.monotonic() < deadline:
        time.sleep(0.2)
