"""The hardware that training uses: number format, threads and instruction set."""

import os
from typing import Literal

import joblib
import torch

from pipelines.core.params import Precision


def has_bf16() -> bool:
    """Return whether the GPU, or without a GPU the processor (AVX-512 BF16 or AMX), computes in bf16."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    processor = torch.cpu.get_capabilities()
    return bool(processor.get("avx512_bf16") or processor.get("amx_bf16"))


def resolve_precision(precision: Precision) -> Literal["bf16", "fp32"]:
    """Resolve `auto` to bf16 if this machine supports it, else to fp32."""
    if precision == "auto":
        return "bf16" if has_bf16() else "fp32"
    return precision


def use_all_cores() -> None:
    """Use one thread per available core; PyTorch alone ignores a container's CPU quota.

    OMP_NUM_THREADS takes precedence, so that parallel trainings can share the cores.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(joblib.cpu_count(only_physical_cores=True))


def instruction_set() -> str:
    """Return PyTorch's name of the processor's instruction set, such as AVX2 or AVX512."""
    return str(torch.cpu.get_capabilities()["cpu_name"])
