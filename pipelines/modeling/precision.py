"""The number format and the threads that training uses."""

from typing import Literal

import torch

from pipelines.core.hardware import training_threads
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
    """Use the threads that `training_threads` returns."""
    torch.set_num_threads(training_threads())
