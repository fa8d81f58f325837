"""Stage `register`: the best-accuracy run of this data version becomes a version of the model `sentiment`."""

import json
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipelines.errors import PipelineError, run_stage
from pipelines.tracking import connect, logged_model

MODEL = "sentiment"
ALIAS = "challenger"
RUN = Path("results/train/run.json")
OUT = Path("results/register")

# What a version must be able to say about where it comes from.
LINEAGE = (
    "git_sha",
    "git_dirty",
    "data_md5",
    "split_sha256",
    "params_sha256",
    "dvc_experiment",
    "weights_sha256",
    "trained_sha256",
)


# And how good the served form is, beside the trained one.
FIGURES = ("accuracy", "reference_accuracy", "agreement", "max_probability_difference")


def best_run(client: MlflowClient, like: Run) -> Run:
    """The finished run with the highest accuracy on the data and the split that `like` had."""
    same = [f"tags.{tag} = '{like.data.tags[tag]}'" for tag in ("data_md5", "split_sha256")]
    runs = client.search_runs(
        experiment_ids=[like.info.experiment_id],
        # MLflow drops an order_by it cannot read without a word, so the metric is asked for as well.
        filter_string=" and ".join([*same, "attributes.status = 'FINISHED'", "metrics.accuracy >= 0"]),
        order_by=["metrics.accuracy DESC", "attributes.start_time ASC"],
        max_results=1,
    )
    if not runs:
        raise PipelineError(
            "no finished run of this data version has an accuracy: run `dvc repro --force evaluate`"
        )
    return runs[0]


def version_of(client: MlflowClient, run: Run) -> ModelVersion:
    """The registered version of the run's model, made if there is none yet."""
    run_id = run.info.run_id
    known = client.search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'")
    model = logged_model(client, run_id)
    for version in known:
        if version.source == model.model_uri or version.source == model.artifact_location:
            return version
    tags = {tag: run.data.tags[tag] for tag in LINEAGE}
    return client.create_model_version(
        MODEL,
        source=model.model_uri,
        run_id=run_id,
        model_id=model.model_id,
        tags=tags | {name: f"{run.data.metrics[name]:.6f}" for name in FIGURES},
    )


def main() -> None:
    client = connect()
    try:
        client.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run = best_run(client, like=client.get_run(json.loads(RUN.read_text())["run_id"]))
    version = version_of(client, run)
    client.set_registered_model_alias(MODEL, ALIAS, version.version)
    OUT.mkdir(parents=True, exist_ok=True)
    result = {
        "version": int(version.version),
        "run_id": run.info.run_id,
        "accuracy": run.data.metrics["accuracy"],
    }
    (OUT / "version.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"{MODEL} version {version.version}, accuracy {result['accuracy']:.4f}, is the {ALIAS}")


if __name__ == "__main__":
    run_stage(main)
