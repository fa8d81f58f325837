"""Training batches of rows of similar length, with a limit on tokens per batch."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class LengthBatches(Sampler[list[int]]):
    """A batch sampler that groups rows of similar length.

    A batch has at most `max_rows` rows and, including padding, at most `max_tokens` tokens; a longer row
    is a batch by itself. The seed and the epoch determine the order of the batches and of rows of equal
    length. The number of batches depends only on the lengths.
    """

    def __init__(self, lengths: Sequence[int], max_rows: int, max_tokens: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.bounds = bounds(sorted(lengths), max_rows, max_tokens)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = np.lexsort((random.random(len(self.lengths)), self.lengths))
        for batch in random.permutation(len(self)):
            start, end = self.bounds[batch]
            yield order[start:end].tolist()


def bounds(ascending: Sequence[int], max_rows: int, max_tokens: int) -> list[tuple[int, int]]:
    """Return each batch's first row and the row after its last; lengths are in ascending order."""
    starts = [0]
    for row, length in enumerate(ascending):
        reviews = row - starts[-1] + 1
        if reviews > 1 and (reviews > max_rows or reviews * length > max_tokens):
            starts.append(row)
    return list(itertools.pairwise([*starts, len(ascending)]))
