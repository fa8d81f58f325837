"""The trained model on an NVIDIA GPU: PyTorch in bf16 with fused attention. Needs the extra `cuda`."""

import ctypes
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bentos.sentiment.windows import padded

WEIGHTS = "model.safetensors"
FILES = ("config.json", WEIGHTS)
"""Of the folder `model/` beside the exported form: the trained model as transformers saves it."""

TOKENS = 16_384
"""In one inference, padding included: keeps a GPU busy and takes less than a gigabyte."""


def is_present() -> bool:
    """Whether there is a GPU, a driver, and PyTorch. Asks the driver, as importing PyTorch takes seconds."""
    if not (find_spec("torch") and find_spec("transformers")):
        return False
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


class TorchModel:
    """The files of `folder`/model on a device of PyTorch."""

    def __init__(self, folder: Path, device: str = "cuda", dtype: str = "bfloat16") -> None:
        import torch
        from transformers import DistilBertForSequenceClassification

        self._torch = torch
        self._device = torch.device(device)
        model: torch.nn.Module = DistilBertForSequenceClassification.from_pretrained(
            folder / "model", dtype=getattr(torch, dtype), attn_implementation="sdpa", local_files_only=True
        )
        self._model = model.to(self._device).eval()

    def logits(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        """[windows, labels] of windows that come longest first."""
        return np.concatenate([self._infer(windows[rows]) for rows in sub_batches([*map(len, windows)])])

    def warm_up(self) -> None:
        """The first inference loads the kernels."""
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
    """Cut rows that come longest first so that each part has at most TOKENS with its padding."""
    start = 0
    while start < len(lengths):
        end = start + max(1, TOKENS // lengths[start])
        yield slice(start, end)
        start = end
