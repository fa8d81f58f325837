"""The exported classifier: four files that the service runs without torch.

model.xml and model.bin (OpenVINO IR: `input_ids` and `attention_mask`, int64, [reviews, tokens] -> logits
[reviews, 2]), tokenizer.json, and serving.json with the labels in the order of the logits and the number
of tokens at which a text is cut.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino
from tokenizers import Encoding, Tokenizer

BATCH = 32

Inputs = dict[str, npt.NDArray[np.int64]]


def probabilities(folder: Path, texts: list[str]) -> npt.NDArray[np.float64]:
    """The probability that each text is positive, as the exported model in `folder` sees it."""
    config = json.loads((folder / "serving.json").read_text())
    encodings = encode(folder, texts)
    # As it is served: left to itself the CPU takes bf16 where it has it, and machines disagree on a score.
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / "model.xml", "CPU", precision)
    answers = np.empty(len(texts))
    positive = config["labels"].index("positive")
    for rows in by_length(encodings):
        logits = model(inputs([encodings[row] for row in rows]))[0].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        answers[rows] = (odds / odds.sum(axis=1, keepdims=True))[:, positive]
    return answers


def encode(folder: Path, texts: Sequence[str]) -> list[Encoding]:
    """The texts as tokens, cut where the service cuts them."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(json.loads((folder / "serving.json").read_text())["max_tokens"])
    return tokenizer.encode_batch_fast(list(texts))


def by_length(encodings: Sequence[Encoding]) -> Iterator[list[int]]:
    """Positions in batches of like lengths, so that little of a batch is padding."""
    order = sorted(range(len(encodings)), key=lambda row: len(encodings[row]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def inputs(encodings: Sequence[Encoding]) -> Inputs:
    """What the model takes, each [texts, tokens of the longest]; padding is 0 in both."""
    longest = max(len(encoding) for encoding in encodings)
    ids = np.zeros((len(encodings), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding)] = encoding.ids
        mask[row, : len(encoding)] = 1
    return {"input_ids": ids, "attention_mask": mask}
