"""The hardware of a training, on which the last digits of its weights depend: processor, threads and GPU."""

import os

import joblib
import torch

from pipelines.core.processor import processor


def hardware() -> dict[str, str]:
    """Return the lineage tags of this machine, as a training uses it."""
    instructions = torch.cpu.get_capabilities()["cpu_name"]  # such as AVX2 or AVX512
    return {
        "processor": f"{processor()} ({instructions})",
        "threads": str(training_threads()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def training_threads() -> int:
    """Return one thread per available core; PyTorch alone ignores a container's CPU quota.

    OMP_NUM_THREADS takes precedence, so that parallel trainings can share the cores.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    return int(joblib.cpu_count(only_physical_cores=True))
