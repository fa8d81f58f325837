"""Opaque pagination cursors: the position after the last item of a page."""

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Self
from uuid import UUID

from fastapi.exceptions import RequestValidationError

from api.errors import invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
REVIEW_POSITION = struct.Struct(">q16s")
"""Microseconds since 1970, then the id."""

SORT_KEY = struct.Struct(">d")
"""The sort key of a movie; its id follows."""

CHECKSUM_BYTES = 6
"""At the end of a cursor."""


@dataclass(frozen=True)
class ReviewCursor:
    """The last review of a page; the next page starts with the next older one."""

    created_at: datetime
    id: UUID

    def encode(self, listing: str) -> str:
        """Encode for one `listing`: the name of the list and its filters."""
        microseconds = (self.created_at - EPOCH) // MICROSECOND
        return _seal(REVIEW_POSITION.pack(microseconds, self.id.bytes), listing)

    @classmethod
    def decode(cls, cursor: str, listing: str) -> Self:
        """Raises RequestValidationError if the cursor was altered or belongs to another listing."""
        try:
            microseconds, id_bytes = REVIEW_POSITION.unpack(_open(cursor, listing))
            return cls(EPOCH + microseconds * MICROSECOND, UUID(bytes=id_bytes))
        except (OverflowError, struct.error):
            raise _invalid() from None


@dataclass(frozen=True)
class MovieCursor:
    """The last movie of a page and its sort key."""

    key: float
    movie_id: str

    def encode(self, listing: str) -> str:
        return _seal(SORT_KEY.pack(self.key) + self.movie_id.encode(), listing)

    @classmethod
    def decode(cls, cursor: str, listing: str) -> Self:
        """Raises RequestValidationError if the cursor was altered or belongs to another listing."""
        position = _open(cursor, listing)
        try:
            (key,) = SORT_KEY.unpack(position[: SORT_KEY.size])
            movie_id = position[SORT_KEY.size :].decode()
        except (UnicodeDecodeError, struct.error):
            raise _invalid() from None
        # PostgreSQL refuses a string with NUL, which a forged cursor can hold.
        if not movie_id.isprintable():
            raise _invalid()
        return cls(key, movie_id)


def _seal(position: bytes, listing: str) -> str:
    return base64.urlsafe_b64encode(position + _checksum(position, listing)).decode().rstrip("=")


def _open(cursor: str, listing: str) -> bytes:
    try:
        position = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-CHECKSUM_BYTES]
    except ValueError:
        raise _invalid() from None
    # Base64 has several spellings of the same bytes; only the one from `_seal` is valid.
    if _seal(position, listing) != cursor:
        raise _invalid()
    return position


def _checksum(position: bytes, listing: str) -> bytes:
    # Not keyed: a forged cursor could only name a position in a public list.
    return blake2b(position + listing.encode(), digest_size=CHECKSUM_BYTES).digest()


def _invalid() -> RequestValidationError:
    return invalid(
        *("query", ["cursor"], "cursor_invalid"),
        "It was altered or belongs to another list. Send next_cursor unchanged, with the same path and "
        "parameters, or omit it for the first page.",
    )
