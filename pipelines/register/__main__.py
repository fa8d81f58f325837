"""Stage `register`: register the most accurate model on this data as a version of `sentiment`."""

import json
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipelines.core.errors import PipelineError, run_stage
from pipelines.core.mlflow_store import connect
from pipelines.core.params import load_params
from pipelines.register.candidates import newest
from pipelines.register.description import reason
from pipelines.register.registry import ALIAS, MODEL, ensure_model, register

RUN = Path("results/train/run.json")
OUT = Path("results/register")


def current_run(client: MlflowClient) -> Run:
    """Return the run that produced results/. Raises PipelineError if this MLflow store does not have it."""
    run_id = json.loads(RUN.read_text())["run_id"]
    try:
        return client.get_run(run_id)
    except MlflowException:
        raise PipelineError(
            f"run {run_id} is not in MLflow at {client.tracking_uri}: run `dvc repro --force` to train"
            " again, or set MLFLOW_TRACKING_URI to the store that has it"
        ) from None


def main() -> None:
    client = connect()
    current = current_run(client)
    ensure_model(client)
    version, found = register(client, current, load_params().registration.refuse_dirty)
    own = newest(client, current)
    if own and (why := found.refused.get(own.name)):
        print(f"this model, {own.name}, is not registered: {why}", file=sys.stderr)
    best = found.models[0]
    OUT.mkdir(parents=True, exist_ok=True)
    result = {
        "version": int(version.version),
        "run_id": best.run.info.run_id,
        "model_id": best.model.model_id,
        "accuracy": best.metrics["accuracy"],
        "reason": reason(found),
    }
    (OUT / "version.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"{MODEL} version {version.version} is the {ALIAS}: {result['reason']}")


if __name__ == "__main__":
    run_stage(main)
