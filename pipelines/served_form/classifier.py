"""The exported classifier: five files that the service runs without torch.

- model.xml and model.bin: OpenVINO IR, `input_ids` and `attention_mask` int64 [windows, tokens] -> logits
  [windows, 2].
- tokenizer.json.
- serving.json: the labels in the order of the logits, the tokens per window, the maximum number of windows
  per text, and the temperature already applied to the logits.
- known_words.npy: what words the training reviews have (`known_words.py`).

A text is split into as few windows of similar length as possible, each with [CLS] and [SEP]. Text beyond the
maximum number of windows is dropped from the middle. A text's probability is the mean over its windows.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino
from tokenizers import Tokenizer

from pipelines.statistics.calibration import mean_softmax
from pipelines.windows.splitting import split_into_windows

BATCH = 32
WIDTH = 32
"""Batches are padded to a multiple of this many tokens: OpenVINO compiles and caches a model per shape.
Without padding, 6,000 reviews of 256 tokens took 11 GB of memory instead of 2."""

Inputs = dict[str, npt.NDArray[np.int64]]


class Classifier:
    """The exported model in `folder`, compiled."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "serving.json").read_text())
        self.folder = folder
        self.max_tokens: int = config["max_tokens"]
        self.positive: int = config["labels"].index("positive")
        self.temperature: float = config.get("temperature", 1.0)
        # As in serving; the default is bf16 on CPUs that have it, and results then differ between machines.
        precision = {"INFERENCE_PRECISION_HINT": "f32"}
        self._model = openvino.Core().compile_model(folder / "model.xml", "CPU", precision)

    @property
    def threads(self) -> int:
        """The number of inference threads."""
        return int(self._model.get_property("INFERENCE_NUM_THREADS"))

    @property
    def mib(self) -> float:
        """The total size of the model's files in MiB."""
        return sum(file.stat().st_size for file in self.folder.iterdir()) / 2**20

    def logits(self, texts: Sequence[str]) -> list[npt.NDArray[np.float64]]:
        """Return one array [windows, labels] per text."""
        windows_by_text = windows(self.folder, texts)
        flat = list(itertools.chain.from_iterable(windows_by_text))
        results = np.empty((len(flat), 2))
        for rows in batches_by_length(flat):
            results[rows] = self._model(self._inputs([flat[row] for row in rows]))[0]
        remaining = iter(results)
        return [np.array(list(itertools.islice(remaining, len(ids)))) for ids in windows_by_text]

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return each text's probability of being positive, [texts]."""
        return mean_softmax(self.logits(texts))[:, self.positive]

    def _inputs(self, windows: Sequence[list[int]]) -> Inputs:
        longest = max(len(ids) for ids in windows)
        return inputs(windows, min(-(-longest // WIDTH) * WIDTH, self.max_tokens))


def probabilities(folder: Path, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return each text's probability of being positive, [texts], from the exported model in `folder`."""
    return Classifier(folder).probabilities(texts)


def windows(folder: Path, texts: Sequence[str]) -> list[list[list[int]]]:
    """Tokenize the texts and split them into windows of token ids, as in serving."""
    config = json.loads((folder / "serving.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encodings = tokenizer.encode_batch_fast(list(texts))
    return [
        split_into_windows(encoding.ids, config["max_tokens"] - 2, config["windows"])
        for encoding in encodings
    ]


def batches_by_length(windows: Sequence[list[int]]) -> Iterator[list[int]]:
    """Yield batches of positions of windows of similar length, to minimise padding."""
    order = sorted(range(len(windows)), key=lambda row: len(windows[row]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def inputs(windows: Sequence[list[int]], width: int) -> Inputs:
    """Return the model's inputs, each [windows, width], padded with 0."""
    input_ids, attention_mask = np.zeros((2, len(windows), width), dtype=np.int64)
    for row, ids in enumerate(windows):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
