"""The exported classifier: four files that the service runs without torch.

model.xml and model.bin (OpenVINO IR: `input_ids` and `attention_mask`, int64, [reviews, tokens] -> logits
[reviews, 2]), tokenizer.json, and serving.json: the labels in the order of the logits, the tokens of a
window, how many windows of one text are read, and the temperature that the logits have been divided by. A
longer text is cut into the fewest windows of like length, each with its [CLS] and [SEP]; what its windows
cannot hold is left out of its middle. Its probability is the mean of theirs.
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

BATCH = 32
WIDTH = 32
"""A batch is padded to a multiple of so many tokens: OpenVINO compiles for every shape that it meets, and
keeps what it compiled. With every length a shape, 6,000 reviews of 256 tokens took 11 GB instead of 2."""

Inputs = dict[str, npt.NDArray[np.int64]]


class Classifier:
    """The exported model in `folder`, compiled."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "serving.json").read_text())
        self.folder = folder
        self.max_tokens: int = config["max_tokens"]
        self.positive: int = config["labels"].index("positive")
        self.temperature: float = config.get("temperature", 1.0)
        # As it is served: left to itself the CPU takes bf16 where it has it, and machines then disagree.
        precision = {"INFERENCE_PRECISION_HINT": "f32"}
        self._model = openvino.Core().compile_model(folder / "model.xml", "CPU", precision)

    @property
    def threads(self) -> int:
        """How many the CPU gives it."""
        return int(self._model.get_property("INFERENCE_NUM_THREADS"))

    @property
    def mib(self) -> float:
        """The size of its files."""
        return sum(file.stat().st_size for file in self.folder.iterdir()) / 2**20

    def logits(self, texts: Sequence[str]) -> list[npt.NDArray[np.float64]]:
        """Of each text [windows, labels]."""
        read = windows(self.folder, texts)
        flat = list(itertools.chain.from_iterable(read))
        answers = np.empty((len(flat), 2))
        for rows in by_length(flat):
            answers[rows] = self._model(self._inputs([flat[row] for row in rows]))[0]
        left = iter(answers)
        return [np.array(list(itertools.islice(left, len(own)))) for own in read]

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """The probability that each text is positive, [texts]."""
        return mean_softmax(self.logits(texts))[:, self.positive]

    def _inputs(self, windows: Sequence[list[int]]) -> Inputs:
        longest = max(len(ids) for ids in windows)
        return inputs(windows, min(-(-longest // WIDTH) * WIDTH, self.max_tokens))


def probabilities(folder: Path, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """The probability that each text is positive, as the exported model in `folder` sees it."""
    return Classifier(folder).probabilities(texts)


def windows(folder: Path, texts: Sequence[str]) -> list[list[list[int]]]:
    """The windows of each text, as the service cuts them: token ids."""
    config = json.loads((folder / "serving.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encodings = tokenizer.encode_batch_fast(list(texts))
    return [cut(encoding.ids, config["max_tokens"] - 2, config["windows"]) for encoding in encodings]


def cut(ids: list[int], room: int, most: int) -> list[list[int]]:
    """A text's tokens in at most so many windows, with room for so many tokens beside [CLS] and [SEP]."""
    first, *body, last = ids
    if len(body) > most * room:
        tail = most * room // 2
        body = body[: most * room - tail] + body[-tail:]
    count = max(1, -(-len(body) // room))
    ends = [len(body) * number // count for number in range(count + 1)]
    return [[first, *body[start:end], last] for start, end in itertools.pairwise(ends)]


def by_length(windows: Sequence[list[int]]) -> Iterator[list[int]]:
    """Positions in batches of like lengths, so that little of a batch is padding."""
    order = sorted(range(len(windows)), key=lambda row: len(windows[row]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def inputs(windows: Sequence[list[int]], width: int) -> Inputs:
    """What the model takes, each [windows, width]; padding is 0 in both."""
    input_ids, attention_mask = np.zeros((2, len(windows), width), dtype=np.int64)
    for row, ids in enumerate(windows):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
