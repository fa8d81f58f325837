"""The model, the environments and the scratch folder of one benchmark run."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import BenchmarkError
from benchmarks.processes import clean_environment


@dataclass(frozen=True)
class Setup:
    """The paths of a run; `max_tokens` is the length to which every contender truncates texts."""

    model: Path  # DistilBERT in transformers' format
    export: Path  # the same model as exported for the engine
    peers: Path  # virtual environment of the peers
    scratch: Path  # temporary
    max_tokens: int

    @property
    def peers_python(self) -> str:
        return str(self.peers / "bin" / "python")

    @property
    def serving(self) -> Path:
        """The copy of the export with `max_tokens`, which the engine loads and the registry contains."""
        return self.scratch / "serving"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this project's processes, with a temporary MLflow registry."""
        return self._environment(Path(sys.executable).parent) | {
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.scratch / 'mlflow.db'}",
            "BENTOML_HOME": str(self.scratch / "bentoml"),
        }

    def peer_environment(self, port: int) -> dict[str, str]:
        return self._environment(self.peers / "bin") | {
            "BENCHMARK_MODEL": str(self.model),
            "BENCHMARK_MAX_TOKENS": str(self.max_tokens),
            "BENCHMARK_SCRATCH": str(self.scratch / "peer"),
            "BENCHMARK_PORT": str(port),
            "BENTOML_HOME": str(self.scratch / "peer-bentoml"),
        }

    def _environment(self, programs: Path) -> dict[str, str]:
        return clean_environment() | {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "HF_HUB_OFFLINE": "1",
            # No telemetry. BentoML accepts only the value `true`.
            "DO_NOT_TRACK": "true",
            "BENTOML_DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def check(self, peers: bool) -> None:
        """Raise BenchmarkError if the model or, where `peers` is true, their environment is missing."""
        for file in (self.model / "config.json", self.export / "model.xml"):
            if not file.is_file():
                raise BenchmarkError(f"{file} is missing: train a model with `make repro promote`")
        if peers and not Path(self.peers_python).exists():
            raise BenchmarkError(
                f"{self.peers_python} is missing: install the peers with `make peers`,"
                " or omit them with --contenders ours-api,ours-bento,engine"
            )
