"""A cache of predictions."""

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Least-recently-used cache of one model's answers to `size` texts, about 300 bytes each.

    Stores a 16-byte hash in place of each text. Not thread-safe: used only by the engine's thread.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[bytes, T] = OrderedDict()

    def get(self, text: str) -> T | None:
        key = _key(text)
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    def put(self, text: str, answer: T) -> None:
        self._answers[_key(text)] = answer
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def __len__(self) -> int:
        return len(self._answers)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
