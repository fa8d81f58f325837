"""Training batches of reviews of like length, none with more tokens than a step may have."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class LengthBatches(Sampler[list[int]]):
    """Rows of a data set in batches, in an order that the seed and the epoch decide.

    A batch has at most `most_reviews` rows, and padded to its longest at most `most_tokens` tokens (a row
    longer than that is a batch of its own). Rows of one length change places from epoch to epoch, batches
    too; how many there are never changes, for that follows from the lengths alone.
    """

    def __init__(self, lengths: Sequence[int], most_reviews: int, most_tokens: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.bounds = bounds(sorted(lengths), most_reviews, most_tokens)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def mean_reviews(self) -> float:
        return len(self.lengths) / len(self)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = np.lexsort((random.random(len(self.lengths)), self.lengths))
        for batch in random.permutation(len(self)):
            start, end = self.bounds[batch]
            yield order[start:end].tolist()


def bounds(ascending: Sequence[int], most_reviews: int, most_tokens: int) -> list[tuple[int, int]]:
    """Where each batch of the reviews begins and ends, given their lengths from short to long."""
    starts = [0]
    for row, length in enumerate(ascending):
        reviews = row - starts[-1] + 1
        if reviews > 1 and (reviews > most_reviews or reviews * length > most_tokens):
            starts.append(row)
    return list(itertools.pairwise([*starts, len(ascending)]))
