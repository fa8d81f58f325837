"""Figures on their way to an MLflow server that goes away and comes back."""

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


def logs(log: MetricOutbox, state: TrainerState, step: int) -> None:
    """What the Trainer does each time."""
    state.log_history.append({"step": step, "loss": 1 / step, "eval_runtime": 3.0})
    log.on_log(TrainingArguments(report_to="none"), state, TrainerControl())


def history(client: MlflowClient, run_id: str) -> dict[int, float]:
    entries = client.get_metric_history(run_id, "loss")
    assert len(entries) == len({entry.step for entry in entries})
    return {entry.step: entry.value for entry in entries}


@pytest.mark.process
def test_nothing_is_lost_while_mlflow_is_away_and_nothing_said_twice(
    tmp_path: Path, empty_store: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, tmp_path)
    port, state = free_port(), TrainerState()
    with server(tmp_path, port) as url:
        client = MlflowClient(url)
        run_id = client.create_run("0").info.run_id
        log = MetricOutbox(client, run_id)
        logs(log, state, 20)
    capfd.readouterr()
    began = time.monotonic()
    logs(log, state, 40)
    logs(log, state, 60)
    assert time.monotonic() - began < 240  # MLflow's own client would try for four minutes each
    said = capfd.readouterr().err
    assert said.count("training continues") == 1
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(PipelineError, match=r"is complete and saved, .* again when MLflow is available"):
        log.finish(state)
    with server(tmp_path, port):
        log.finish(state)
        wanted = {20: 1 / 20, 40: 1 / 40, 60: 1 / 60}
        assert history(client, run_id) == pytest.approx(wanted)
        # A training that goes on from step 40 says 60 again, then 80.
        again = TrainerState(log_history=[dict(entry) for entry in state.log_history[:2]])
        later = MetricOutbox(client, run_id)
        for step in (60, 80):
            logs(later, again, step)
        assert history(client, run_id) == pytest.approx(wanted | {80: 1 / 80})
        assert set(client.get_run(run_id).data.metrics) == {"loss"}
