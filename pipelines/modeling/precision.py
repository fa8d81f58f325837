"""What training computes with: bf16 where the processor has instructions for it, else fp32."""

import os
from typing import Literal

import joblib
import torch

from pipelines.core.params import Precision


def has_bf16() -> bool:
    """Whether this machine has instructions for bf16: a GPU, or a processor with AVX-512 BF16 or AMX."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    processor = torch.cpu.get_capabilities()
    return bool(processor.get("avx512_bf16") or processor.get("amx_bf16"))


def resolve_precision(precision: Precision) -> Literal["bf16", "fp32"]:
    """What `train.precision` comes to here."""
    if precision == "auto":
        return "bf16" if has_bf16() else "fp32"
    return precision


def use_all_cores() -> None:
    """One thread a core that this process may use; PyTorch looks past the quota of a container.

    OMP_NUM_THREADS says otherwise: trainings that run at once share the cores.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(joblib.cpu_count(only_physical_cores=True))


def processor() -> str:
    """The processor's instruction set as PyTorch names it, such as AVX2 or AVX512."""
    return str(torch.cpu.get_capabilities()["cpu_name"])
