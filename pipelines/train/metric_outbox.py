"""What the Trainer logs, sent to the MLflow run: once each, and later when MLflow is away."""

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

# Of what the Trainer says; how long evaluations took is not among it, for it says nothing about the model.
_NAMES = {
    name: name for name in ("loss", "grad_norm", "learning_rate", "epoch", "eval_loss", "eval_accuracy")
} | {"train_tokens_per_second": "tokens_per_second"}


class MetricOutbox(TrainerCallback):
    """Sends the Trainer's history to the run `run_id`.

    transformers' own MLflowCallback would add its 150 arguments to our params, which then can no longer be
    compared at a glance; and an MLflow that is away for a minute would end hours of training.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        names = client.get_run(run_id).data.metrics
        # A training that goes on says again what it said after its last checkpoint.
        self.known = {(m.key, m.step) for name in names for m in client.get_metric_history(run_id, name)}
        self.sent = 0
        self.away = False

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        try:
            with impatient():
                self.send(state)
        except MlflowException as error:
            if not self.away:
                first = str(error).splitlines()[0][:200]
                print(
                    f"MLflow does not take the figures ({first}): they are kept, and training goes on",
                    file=sys.stderr,
                )
            self.away = True

    def send(self, state: TrainerState) -> None:
        """Send what is not sent yet. Raises MlflowException; what is left is sent the next time."""
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
        """Send the rest, waiting for an MLflow that is away as long as MLFLOW_HTTP_REQUEST_MAX_RETRIES says.

        Raises PipelineError when it does not come back.
        """
        try:
            self.send(state)
        except MlflowException as error:
            raise PipelineError(
                f"the training is done and kept, but MLflow does not take its figures: "
                f"{str(error).splitlines()[0][:200]} Run the same command again when MLflow is back."
            ) from None


@contextmanager
def impatient() -> Iterator[None]:
    """Have MLflow's client try once, for seconds, instead of seven times for minutes."""
    once = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    before = {name: os.environ.get(name) for name in once}
    os.environ.update(once)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
