"""Where one run of the benchmark finds its model and keeps what it makes."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.errors import BenchmarkError

ROOT = Path(__file__).resolve().parents[2]
OTHERS = ("BENTOML_", "BENTO_URL", "DATABASE_URL", "MLFLOW_", "PYTHON", "RAY_", "VIRTUAL_ENV")
"""Variables of the user's own stack, which no contender may see."""


@dataclass(frozen=True)
class Place:
    """`model` is a DistilBERT folder of transformers, `export` the served form, `scratch` ours alone."""

    model: Path
    export: Path
    peers: Path  # the virtual environment of the peers
    scratch: Path
    max_tokens: int

    @property
    def peers_python(self) -> str:
        return str(self.peers / "bin" / "python")

    @property
    def serving(self) -> Path:
        """The export, cut at our `max_tokens`: the bare engine runs it and the registry holds it."""
        return self.scratch / "serving"

    @property
    def registry(self) -> str:
        return f"sqlite:///{self.scratch / 'mlflow.db'}"

    @property
    def environment(self) -> dict[str, str]:
        """Of our own processes: the project's environment, a registry of the benchmark's own."""
        return self._environment(Path(sys.executable).parent) | {
            "MLFLOW_TRACKING_URI": self.registry,
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
        return inherited(os.environ) | {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "HF_HUB_OFFLINE": "1",
            # Nobody phones home; BentoML takes the word `true` only.
            "DO_NOT_TRACK": "true",
            "BENTOML_DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def check(self, peers: bool) -> None:
        """Raise BenchmarkError for what is missing; `peers` says whether their environment is needed."""
        for file in (self.model / "config.json", self.export / "model.xml"):
            if not file.is_file():
                raise BenchmarkError(f"there is no {file}: train a model with `make repro promote`")
        if peers and not Path(self.peers_python).exists():
            raise BenchmarkError(
                f"there is no {self.peers_python}: install the peers with `make peers`,"
                " or leave them out with --contenders ours-api,ours-bento,engine"
            )


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(OTHERS)}
