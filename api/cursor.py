"""Where the next page begins, as a string that a client hands back unread."""

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Self
from uuid import UUID

from api.errors import UnprocessableError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PLACE = struct.Struct(">q16s")
"""Of a review: microseconds since 1970, id."""

KEY = struct.Struct(">d")
"""Of a movie: what it is sorted by; its id follows."""

CHECKSUM = 6
"""Bytes, at the end."""


@dataclass(frozen=True)
class ReviewCursor:
    """The last review of a page; the next page holds what is older."""

    created_at: datetime
    id: UUID

    def encode(self, listing: str) -> str:
        """`listing` names the list and its filter: a cursor is good for that one only."""
        microseconds = (self.created_at - EPOCH) // MICROSECOND
        return _seal(PLACE.pack(microseconds, self.id.bytes), listing)

    @classmethod
    def decode(cls, cursor: str, listing: str) -> Self:
        """Raises UnprocessableError when the cursor was altered or belongs to another listing."""
        try:
            microseconds, id_bytes = PLACE.unpack(_open(cursor, listing))
            return cls(EPOCH + microseconds * MICROSECOND, UUID(bytes=id_bytes))
        except (OverflowError, struct.error):
            raise _invalid() from None


@dataclass(frozen=True)
class MovieCursor:
    """The last movie of a page, and what it was sorted by."""

    key: float
    movie_id: str

    def encode(self, listing: str) -> str:
        return _seal(KEY.pack(self.key) + self.movie_id.encode(), listing)

    @classmethod
    def decode(cls, cursor: str, listing: str) -> Self:
        """Raises UnprocessableError when the cursor was altered or belongs to another listing."""
        place = _open(cursor, listing)
        try:
            (key,) = KEY.unpack(place[: KEY.size])
            return cls(key, place[KEY.size :].decode())
        except (UnicodeDecodeError, struct.error):
            raise _invalid() from None


def _seal(place: bytes, listing: str) -> str:
    return base64.urlsafe_b64encode(place + _checksum(place, listing)).decode().rstrip("=")


def _open(cursor: str, listing: str) -> bytes:
    try:
        place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-CHECKSUM]
    except ValueError:
        raise _invalid() from None
    # Spelled in any other way, or with another checksum, it is not ours.
    if _seal(place, listing) != cursor:
        raise _invalid()
    return place


def _checksum(place: bytes, listing: str) -> bytes:
    # No secret: a forged cursor could only name a place in a list that anybody may read.
    return blake2b(place + listing.encode(), digest_size=CHECKSUM).digest()


def _invalid() -> UnprocessableError:
    return UnprocessableError(
        "cursor: it was altered, or it belongs to another list. Send next_cursor as it came, "
        "with the same path and parameters, or none for the first page."
    )
