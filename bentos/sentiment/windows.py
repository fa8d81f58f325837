"""A text's tokens as what a model takes: windows of limited length, padded to rectangles."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPECIAL = 2
"""[CLS] and [SEP], which every window has."""

Inputs = dict[str, NDArray[np.int64]]


def windows(ids: list[int], max_tokens: int, most: int) -> list[list[int]]:
    """Cut a text's tokens into the fewest windows of like length, each with its [CLS] and [SEP].

    Of a text with more tokens than `most` windows hold, the middle is left out: reviews end with the verdict.
    """
    if len(ids) <= max_tokens:
        return [ids]
    first, *body, last = ids
    room = most * (max_tokens - SPECIAL)
    if len(body) > room:
        body = body[: room - room // 2] + body[len(body) - room // 2 :]
    count = math.ceil(len(body) / (max_tokens - SPECIAL))
    cuts = [len(body) * number // count for number in range(count + 1)]
    return [[first, *body[start:end], last] for start, end in itertools.pairwise(cuts)]


def padded(windows: Sequence[list[int]], width: int) -> Inputs:
    """The model's inputs, each [windows, width]; padding is 0 in both."""
    input_ids, attention_mask = np.zeros((2, len(windows), width), np.int64)
    for row, ids in enumerate(windows):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
