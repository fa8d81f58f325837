"""Runs the trained model on an NVIDIA GPU: PyTorch, bf16, fused attention. Needs the extra `cuda`."""

import ctypes
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bentos.sentiment.windows import padded

WEIGHTS = "model.safetensors"
FILES = ("config.json", WEIGHTS)
"""Files of the trained model, as transformers saves them, in model/ beside the exported form."""

TOKENS = 16_384
"""Maximum tokens per inference, padding included: saturates a GPU and needs less than 1 GB."""


def is_present() -> bool:
    """Return whether a GPU, its driver and PyTorch are present, without importing PyTorch (seconds)."""
    if not (find_spec("torch") and find_spec("transformers")):
        return False
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


class TorchModel:
    """The model in `folder`/model, on a PyTorch device."""

    def __init__(self, folder: Path, device: str = "cuda", dtype: str = "bfloat16") -> None:
        import torch
        from transformers import DistilBertForSequenceClassification

        self._torch = torch
        self._device = torch.device(device)
        model: torch.nn.Module = DistilBertForSequenceClassification.from_pretrained(
            folder / "model", dtype=getattr(torch, dtype), attn_implementation="sdpa", local_files_only=True
        )
        self._model = model.to(self._device).eval()

    @property
    def device(self) -> str:
        return self._device.type

    def logits(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        """Return logits [windows, labels] for windows sorted by length, longest first."""
        return np.concatenate([self._infer(windows[rows]) for rows in sub_batches([*map(len, windows)])])

    def warm_up(self) -> None:
        """Load the kernels, which the first inference does."""
        self.logits([[1] * 8])

    def _infer(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        inputs = {
            name: self._torch.from_numpy(rows).to(self._device)
            for name, rows in padded(windows, len(windows[0])).items()
        }
        with self._torch.inference_mode():
            logits: NDArray[np.float32] = self._model(**inputs).logits.float().cpu().numpy()
        return logits


def sub_batches(lengths: Sequence[int]) -> Iterator[slice]:
    """Split rows, sorted by length and longest first, into parts of at most TOKENS tokens after padding."""
    start = 0
    while start < len(lengths):
        end = start + max(1, TOKENS // lengths[start])
        yield slice(start, end)
        start = end
