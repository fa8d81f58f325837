"""Splits the tokens of a text into windows of limited length, and pads them to model inputs."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPECIAL = 2
"""Number of special tokens in each window: [CLS] and [SEP]."""

Inputs = dict[str, NDArray[np.int64]]


def windows(ids: list[int], max_tokens: int, max_windows: int) -> list[list[int]]:
    """Split tokens into as few windows as possible, of about equal length, each with [CLS] and [SEP].

    If the text does not fit into `max_windows`, its middle is left out: the end of a review says most.
    """
    if len(ids) <= max_tokens:
        return [ids]
    first, *body, last = ids
    room = max_windows * (max_tokens - SPECIAL)
    if len(body) > room:
        body = body[: room - room // 2] + body[len(body) - room // 2 :]
    count = math.ceil(len(body) / (max_tokens - SPECIAL))
    cuts = [len(body) * number // count for number in range(count + 1)]
    return [[first, *body[start:end], last] for start, end in itertools.pairwise(cuts)]


def padded(windows: Sequence[list[int]], width: int) -> Inputs:
    """Return input_ids and attention_mask, each [windows, width] and padded with 0."""
    input_ids, attention_mask = np.zeros((2, len(windows), width), np.int64)
    for row, ids in enumerate(windows):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
