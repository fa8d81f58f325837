"""Processes that share the trials of a sweep, without starting any."""

import os
import subprocess
from unittest.mock import Mock

import joblib
import pytest

from pipelines.sweep.__main__ import companions


def test_jobs_divide_the_cores_that_the_sweep_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # so that it is restored
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores: 12)
    monkeypatch.setattr(subprocess, "Popen", Mock())
    with companions("study", trials=3, jobs=3):
        assert os.environ["OMP_NUM_THREADS"] == "4"
