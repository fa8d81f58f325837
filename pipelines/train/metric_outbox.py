"""Sends the Trainer's metrics to the MLflow run once each, and retries them after an outage."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pipelines.core.errors import PipelineError

# The Trainer's names -> MLflow's. Evaluation times are left out: they do not describe the model.
_NAMES = {
    name: name for name in ("loss", "grad_norm", "learning_rate", "epoch", "eval_loss", "eval_accuracy")
} | {"train_tokens_per_second": "tokens_per_second"}


class MetricOutbox(TrainerCallback):
    """Sends the Trainer's log history to the run `run_id`; training continues while MLflow is unavailable.

    transformers' MLflowCallback would log its 150 arguments beside the pipeline's params, and would end the
    training when MLflow is unavailable.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        names = set(client.get_run(run_id).data.metrics) & set(_NAMES.values())
        # A resumed training logs the steps after its last checkpoint again.
        self.known = {(m.key, m.step) for name in names for m in client.get_metric_history(run_id, name)}
        self.sent = 0
        self.away = False

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        try:
            with single_attempt():
                self.send(state)
        except MlflowException as error:
            if not self.away:
                first = str(error).splitlines()[0][:200]
                print(
                    f"MLflow does not accept metrics ({first}): training continues; they are sent later",
                    file=sys.stderr,
                )
            self.away = True

    def send(self, state: TrainerState) -> None:
        """Send unsent metrics. Raises MlflowException; the rest stays unsent until the next call."""
        for entry in state.log_history[self.sent :]:
            now = int(time.time() * 1000)
            metrics = [
                Metric(_NAMES[name], float(value), now, int(entry["step"]))
                for name, value in entry.items()
                if name in _NAMES and (_NAMES[name], entry["step"]) not in self.known
            ]
            if metrics:
                self.client.log_batch(self.run_id, metrics=metrics)
            self.sent += 1
        self.away = False

    def finish(self, state: TrainerState) -> None:
        """Send the unsent metrics, with MLflow's own retries (MLFLOW_HTTP_REQUEST_MAX_RETRIES).

        Raises PipelineError if MLflow stays unavailable.
        """
        try:
            self.send(state)
        except MlflowException as error:
            raise PipelineError(
                f"the training is complete and saved, but MLflow does not accept its metrics: "
                f"{str(error).splitlines()[0][:200]} Run the same command again when MLflow is available."
            ) from None


@contextmanager
def single_attempt() -> Iterator[None]:
    """Limit MLflow's client to one attempt of 5 s; by default it retries for minutes."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
