"""Answers kept for texts that come again."""

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """The answers of one model to the last `size` texts, of about 300 bytes each: it keeps no text.

    A text is known by a 16-byte hash. Not safe for threads: it belongs to the one that calls the engine.
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
