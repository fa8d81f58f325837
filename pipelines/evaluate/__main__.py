"""Stage `evaluate`: evaluate the served form on the validation reviews; log to DVC and the MLflow run."""

import json

from pipelines.core.errors import run_stage
from pipelines.core.mlflow_store import connect, resume
from pipelines.core.params import load_params
from pipelines.evaluate.accuracy_loss import refuse_loss
from pipelines.evaluate.examination import TRAINED, examine
from pipelines.evaluate.outputs import OUT, log, write
from pipelines.evaluate.report import drawn


def main() -> None:
    params = load_params()
    client = connect()
    with resume(json.loads((TRAINED / "run.json").read_text())["run_id"]) as run:
        found = examine(client, run, params)
        figures = drawn(found)
        write(found, figures)
        log(client, found, figures)
        # An error inside the `with` marks the run as FAILED, so that it is not registered.
        refuse_loss(found.metrics, params.export.max_accuracy_loss)
    (OUT / "metrics.json").write_text(json.dumps(found.metrics, indent=2) + "\n")
    print(found.headline)


if __name__ == "__main__":
    run_stage(main)
