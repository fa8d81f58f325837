"""Metrics of a training during an outage of the MLflow server."""

import shutil
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from transformers import TrainerControl, TrainerState, TrainingArguments

from benchmarks.processes import free_port
from pipelines.core.errors import PipelineError
from pipelines.train.metric_outbox import MetricOutbox
from tests.pipelines.mlflow_server import server


def log_step(outbox: MetricOutbox, state: TrainerState, step: int) -> None:
    """Log like the Trainer."""
    state.log_history.append({"step": step, "loss": 1 / step, "eval_runtime": 3.0})
    outbox.on_log(TrainingArguments(report_to="none"), state, TrainerControl())


def history(client: MlflowClient, run_id: str) -> dict[int, float]:
    entries = client.get_metric_history(run_id, "loss")
    assert len(entries) == len({entry.step for entry in entries})
    return {entry.step: entry.value for entry in entries}


@pytest.mark.process
def test_no_metric_is_lost_or_logged_twice_during_an_outage(
    tmp_path: Path, empty_store: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, tmp_path)
    port, state = free_port(), TrainerState()
    with server(tmp_path, port) as url:
        client = MlflowClient(url)
        run_id = client.create_run("0").info.run_id
        outbox = MetricOutbox(client, run_id)
        log_step(outbox, state, 20)
    capfd.readouterr()
    began = time.monotonic()
    log_step(outbox, state, 40)
    log_step(outbox, state, 60)
    assert time.monotonic() - began < 240  # MLflow's own client would retry each for four minutes
    output = capfd.readouterr().err
    assert output.count("training continues") == 1
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(PipelineError, match=r"is complete and saved, .* again when MLflow is available"):
        outbox.finish(state)
    with server(tmp_path, port):
        outbox.finish(state)
        expected = {20: 1 / 20, 40: 1 / 40, 60: 1 / 60}
        assert history(client, run_id) == pytest.approx(expected)
        # A training that resumes from step 40 logs step 60 again, then step 80.
        resumed = TrainerState(log_history=[dict(entry) for entry in state.log_history[:2]])
        later = MetricOutbox(client, run_id)
        for step in (60, 80):
            log_step(later, resumed, step)
        assert history(client, run_id) == pytest.approx(expected | {80: 1 / 80})
        assert set(client.get_run(run_id).data.metrics) == {"loss"}
