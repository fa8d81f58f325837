"""The exported classifier: four files that the service runs without torch.

model.xml and model.bin (OpenVINO IR: `input_ids` and `attention_mask`, int64, [reviews, tokens] -> logits
[reviews, 2]), tokenizer.json, and serving.json: the labels in the order of the logits, the tokens of a window
and how many windows of one text are read. A longer text is cut into the fewest windows of like length, each
with its [CLS] and [SEP]; what its windows cannot hold is left out of its middle. Its probability is the mean
of theirs.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino
from tokenizers import Tokenizer

BATCH = 32

Inputs = dict[str, npt.NDArray[np.int64]]


def probabilities(folder: Path, texts: list[str]) -> npt.NDArray[np.float64]:
    """The probability that each text is positive, as the exported model in `folder` sees it."""
    config = json.loads((folder / "serving.json").read_text())
    read = windows(folder, texts)
    flat = list(itertools.chain.from_iterable(read))
    # As it is served: left to itself the CPU takes bf16 where it has it, and machines disagree on a score.
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / "model.xml", "CPU", precision)
    answers = np.empty(len(flat))
    positive = config["labels"].index("positive")
    for rows in by_length(flat):
        logits = model(inputs([flat[row] for row in rows]))[0].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        answers[rows] = (odds / odds.sum(axis=1, keepdims=True))[:, positive]
    left = iter(answers)
    return np.array([np.mean(list(itertools.islice(left, len(own)))) for own in read])


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


def inputs(windows: Sequence[list[int]]) -> Inputs:
    """What the model takes, each [windows, tokens of the longest]; padding is 0 in both."""
    longest = max(len(ids) for ids in windows)
    input_ids, attention_mask = np.zeros((2, len(windows), longest), dtype=np.int64)
    for row, ids in enumerate(windows):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
