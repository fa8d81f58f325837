"""Stage `evaluate`: evaluate the served form on the validation reviews; log to DVC and the MLflow run."""

import json

from pipelines.core.errors import PipelineError, run_stage
from pipelines.core.mlflow_store import connect, logged_model, resume
from pipelines.core.params import load_params
from pipelines.evaluate.accuracy_loss import loss_refused
from pipelines.evaluate.examination import MODEL, TRAINED, examine
from pipelines.evaluate.outputs import OUT, log, write
from pipelines.evaluate.report import drawn


def main() -> None:
    params = load_params()
    client = connect()
    model = logged_model(client, json.loads(MODEL.read_text())["model_id"])
    with resume(json.loads((TRAINED / "run.json").read_text())["run_id"]) as run:
        found = examine(client, run, model, params)
        figures = drawn(found)
        write(found, figures)
        refused = loss_refused(found.metrics, params.export.max_accuracy_loss)
        log(client, model, found, figures, refused)
        if refused:
            raise PipelineError(refused)
    (OUT / "metrics.json").write_text(json.dumps(found.metrics, indent=2) + "\n")
    print(found.headline)


if __name__ == "__main__":
    run_stage(main)
