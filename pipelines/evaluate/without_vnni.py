"""The served form as a processor without VNNI runs it.

VNNI adds products of int8 in 32 bits. Older x86 processors add pairs of them in 16 bits first, which can
saturate: the same model then gives other probabilities.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch

from pipelines.core.errors import PipelineError

LIMIT = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""For OpenVINO's CPU plugin, which reads it when a process begins. AVX-512 without VNNI saturates as well."""

Probabilities = npt.NDArray[np.float64]


def has_vnni() -> bool:
    """Return whether this processor has VNNI; one of another architecture than x86 has not."""
    processor = torch.cpu.get_capabilities()
    return bool(processor.get("avx512_vnni") or processor.get("avx_vnni"))


def probabilities(folder: Path, texts: Sequence[str]) -> Probabilities:
    """Return each text's probability of being positive, [texts], from a process that does not use VNNI.

    Raises PipelineError if that process fails.
    """
    with TemporaryDirectory(prefix="evaluate-") as scratch:
        given, found = Path(scratch, "texts.json"), Path(scratch, "probabilities.npy")
        given.write_text(json.dumps(list(texts)))
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.served_form", folder, given, found],
            env=os.environ | LIMIT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise PipelineError(f"the served form does not run without VNNI: {last}")
        read: Probabilities = np.load(found)
        return read
