"""The windows in which a text is read that is longer than the model's input."""

import itertools


def split_into_windows(ids: list[int], size: int, max_windows: int) -> list[list[int]]:
    """Split a text into at most `max_windows` windows of `size` tokens, not counting [CLS] and [SEP]."""
    first, *body, last = ids
    if len(body) > max_windows * size:
        tail = max_windows * size // 2
        body = body[: max_windows * size - tail] + body[-tail:]
    count = max(1, -(-len(body) // size))
    ends = [len(body) * number // count for number in range(count + 1)]
    return [[first, *body[start:end], last] for start, end in itertools.pairwise(ends)]
